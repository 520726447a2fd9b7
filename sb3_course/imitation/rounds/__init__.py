"""The parts of a round of DAgger: who acts in it, how it is evaluated, and what is left of one."""
