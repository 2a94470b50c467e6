"""What a user can mend: each message says where, what was found and what was expected."""


class CheckpointError(Exception):
    """A checkpoint that cannot be used."""


class DataError(Exception):
    """Data that cannot be used."""


class TrainingError(Exception):
    """Training that cannot start or go on."""


MENDABLE = (CheckpointError, DataError, TrainingError, OSError)
