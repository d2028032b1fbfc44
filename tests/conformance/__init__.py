"""The public test suite of the Array API standard, run on portanet and on the library below it."""
