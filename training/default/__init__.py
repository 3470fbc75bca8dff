"""The network that ships: a cross-validated bag of small networks, distilled into one that is smaller still.

From left to right: `tails` finds jumps that a smooth network can't follow, `selection` finds the columns worth
keeping, `bag` teaches the members, `trees` adds a view of another kind, `calibrate` takes them at their word,
`distill` teaches one compact Keras network to say what all of them say. `teach` walks that line.
"""
