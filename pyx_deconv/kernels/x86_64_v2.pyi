from .engine import *  # one source, compiled for this instruction set
