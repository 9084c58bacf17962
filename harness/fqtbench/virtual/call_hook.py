"""A second native hook, which follows calls and returns and counts each block under the calls that led to it.

It sees exactly the blocks that the first hook (block_hook.py) has counted, and charges what that one added to the time.
Nothing in the firmware takes part: a jump to the first instruction of a function is a call if LR says so, else a tail
call; a block at the return address of the innermost call is a return.

Beside functions the tree has *sections*: a function that works through a list, one element at a time, is cut into parts
by the functions that it calls for each element, the markers, whose argument tells the element.
"""

from typing import Final

# Header of the table, int64 each. *_AT are indices into the table itself.
COUNTS_ADDRESS, SCRATCH_ADDRESS, LAST_NOW, LAST_OUTSIDE, PREVIOUS_END, DEPTH, N_NODES, N_CELLS = range(8)
FULL, OUTSIDE_CYCLES, SCRATCH, OWNERS_AT, MARKERS_AT, STACK_AT, NODES_AT, CELLS_AT = range(8, 16)
STRAYS, READ_FUNCTION = range(16, 18)
HEADER: Final = 20

# A function's row in MARKERS; functions are numbered from 1, 0 is code of no known function.
# CUTS: the section of those whose marker has none, 0 of a function that isn't cut.
START, CUTS, REGISTER, BASE, STRIDE, SECTION = range(6)
MARKER_FIELDS: Final = 6
NO_MARKER, KEEPS = -2, -1  # of REGISTER: not a marker; one without an argument, the element stays

# A frame of the call stack.
RETURN, FUNCTION, WHOLE, NODE, ELEMENT = range(5)
FRAME_FIELDS: Final = 5
MAX_DEPTH: Final = 64

# A node of the tree: a function called by its parent, or, with function 0 and section > 0, a section of it.
PARENT, NODE_FUNCTION, NODE_SECTION, NODE_ELEMENT, CALLS, CHILD, SIBLING = range(7)
NODE_FIELDS: Final = 7
MAX_NODES: Final = 16_384

# A block under a node: a slot of a hash table. KEY is 0 where it is free.
KEY, CELL_NODE, ADDRESS, SIZE, EXECUTIONS, CYCLES, INSTRUCTIONS = range(7)
CELL_FIELDS: Final = 7
CELL_SLOTS: Final = 1 << 17
MAX_CELLS: Final = CELL_SLOTS * 3 // 4

NO_ELEMENT: Final = -1
