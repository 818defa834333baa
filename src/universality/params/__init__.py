"""The parameters: one frozen model per section of params.yaml, one file per study or step.

They lie in separate files so that a new section does not re-run the stages that never read it
(a stage declares the code it imports).
"""
