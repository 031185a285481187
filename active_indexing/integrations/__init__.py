"""Adapters that let other programs and standards use a store: each speaks one of their interfaces."""
