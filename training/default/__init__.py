"""The network that ships: a stack of cross-validated families, put together as one Keras model.

`folds` splits the rows; `trees` fits CatBoost's oblivious trees and chooses their depth and the features (`columns`);
`members` fits a linear model (`linear`) and small networks (`networks`) on piecewise-linear bins (`bins`); `stack`
weighs the families on the rows that none was fitted on; `assemble` makes one model of them, in which nothing is
approximated: what is judged out of fold is what ships. `fit` walks that line.
"""
