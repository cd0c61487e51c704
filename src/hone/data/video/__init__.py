"""Clips: video files and folders of frames, decoded only where they are looked at."""
