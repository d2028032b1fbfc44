"""Plans: a computation on NumPy arrays, recorded once and replayed into memory that was allocated once.

`recorded.Recorded` is the array that writes down what is computed with it, `recorder.Recorder` the list that it writes
to, `program.Program` the function that is made of the list. Nothing here knows of Tensors, gradients or optimizers.
"""
