"""Batch normalization from scratch, and the experiments that show what it does.

Read the modules in this order.
`functional` holds the equations, one marked line each, in pure NumPy (`arrays` the shapes and sums
that they take for granted); `moments` the statistics of a batch and their running averages;
`layers` the layers with parameters, statistics and a mode; `folding` does away with one.
`gradcheck` tells whether a backward belongs to its forward, `conformance` how far a layer is from
PyTorch's, and `frameworks` how others name the same things.
`data` gives the PyTorch experiments their images: `mnist` reads them, or `digits` draws them where
there is no network. `models` holds their networks, `training` trains one, `runs` trains many and
remembers them, `probes` looks inside one, and `theory` predicts what is there before training.
`evidence` turns runs into intervals and keeps the numbers that the site recalls; `figures` draws
in the site's style; `storage` keeps files whole when a process is killed.
"""
