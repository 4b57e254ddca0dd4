"""The images that every network is trained on."""
