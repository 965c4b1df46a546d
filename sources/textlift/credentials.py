"""What the credentials of several services have in common."""

# Without the annotations import: dlt would look for the types in the module of the subclass.

from dlt.common.configuration import configspec
from dlt.common.configuration.specs import CredentialsConfiguration
from dlt.common.typing import TSecretStrValue


@configspec
class LoginOrToken(CredentialsConfiguration):
    """A login, or the token that replaces it."""

    username: str | None = None
    password: TSecretStrValue | None = None
    token: TSecretStrValue | None = None
