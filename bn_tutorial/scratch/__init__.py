"""The equations and their layers, in NumPy alone; PyTorch is used to compare with."""
