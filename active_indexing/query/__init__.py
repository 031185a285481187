"""Is this ours, which one, how sure?"""
