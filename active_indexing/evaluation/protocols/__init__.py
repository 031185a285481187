"""Published protocols of copy detection."""
