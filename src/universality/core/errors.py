"""The one exception that users see as a single line."""


class InputError(Exception):
    """Bad input: names the key or file, what was found and what is allowed.

    The command line prints it as one line and exits with status 2. Anything else that escapes is
    a defect of ours and keeps its traceback.
    """
