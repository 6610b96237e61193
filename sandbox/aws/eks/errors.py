"""The refusals of EKS, by the names its service model gives them."""


class EksError(Exception):
    """An error answer: its code (the shape's name in the service model), its message, and the members beside the message."""

    def __init__(self, code: str, message: str, **members: str) -> None:
        super().__init__(message)
        self.code, self.message, self.members = code, message, members


def not_found(message: str, **members: str) -> EksError:
    """What is asked for does not exist."""
    return EksError("ResourceNotFoundException", message, **members)


def in_use(message: str, **members: str) -> EksError:
    """It exists already, is being changed, or something depends on it."""
    return EksError("ResourceInUseException", message, **members)


def invalid_parameter(message: str, **members: str) -> EksError:
    """A value EKS does not take."""
    return EksError("InvalidParameterException", message, **members)


def invalid_request(message: str, **members: str) -> EksError:
    """A request that makes no sense in the state things are in."""
    return EksError("InvalidRequestException", message, **members)


def limit_exceeded(message: str, **members: str) -> EksError:
    """More of something than an account may have."""
    return EksError("ResourceLimitExceededException", message, **members)
