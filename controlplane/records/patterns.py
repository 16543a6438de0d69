"""What texts have to look like where not any will do, and how that is said to whoever gives another one."""

from collections.abc import Mapping

NO_NUL = r"^[^\x00]*$"
ABSOLUTE_PATH = r"^/[^\x00]*$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)"
PORT_NAME = r"^[a-z][a-z0-9_]{0,31}$(?!\n)"
URL_PATH = r"^/[^\x00-\x20\x7f]*$(?!\n)"
SCHEME = r"^[a-z][a-z0-9+.-]{0,15}$(?!\n)"
FILE = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$(?!\n)"
USER = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$(?!\n)"
ONE_LINE = r"^[^\x00\n]*$(?!\n)"
DIRECTORY = r"^(/|\{directory\})[^\x00]*$"
VOLUME = r"^((/|\{directory\})[^\x00:]*|[a-zA-Z0-9][a-zA-Z0-9_.-]+)$(?!\n)"
MODE = r"^0?[0-7]{3}$(?!\n)"
IMAGE = r"^[^\s\x00]+$(?!\n)"
CONTAINER_USER = r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$(?!\n)"
NETWORK = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$(?!\n)"
POLLED_URL = r"^[\x21-\x7e]+$(?!\n)"
BALANCER_FILE = r"^[a-z0-9][a-z0-9_-]{0,62}(\.[a-z0-9]{1,8})?$(?!\n)"
COMMAND_NAME = r"^[a-z][a-z0-9_-]{0,31}$(?!\n)"
NAMING = r"^([A-Za-z0-9_.-]|\$[0-9]?[IRr]){1,64}$(?!\n)"
HOOK_URL = r"^https?://[^\s\x00-\x1f\x7f]+$(?!\n)"
METRIC = r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$(?!\n)"

WORDS: Mapping[str, str] = {
    NO_NUL: "must not have a character of number zero",
    ABSOLUTE_PATH: "has to be a path that begins with /",
    VARIABLE: "has to be letters, digits and underlines, the first one no digit",
    PORT_NAME: "has to be 1 to 32 small letters, digits and underlines, the first one a letter",
    URL_PATH: "has to begin with / and to be without spaces",
    SCHEME: "has to be 1 to 16 small letters, digits and any of + . -, the first one a letter",
    FILE: "has to be 1 to 128 letters, digits and any of _ . -, the first one none of . -",
    USER: "has to be 1 to 64 letters, digits and any of _ . -, the first one none of . -",
    ONE_LINE: "has to be one line",
    DIRECTORY: "has to be a path that begins with / or {directory}",
    VOLUME: "has to be the name of a volume, or a path that begins with / or {directory} and has no colon",
    MODE: "has to be three octal digits, as 0644",
    IMAGE: "has to be the name of an image, which has no spaces",
    CONTAINER_USER: "has to be the name or number of a user, with a group after a colon if there is to be one",
    NETWORK: "has to be letters, digits and any of _ . -, the first one a letter or digit",
    POLLED_URL: "has to be an address of plain characters, without spaces",
    BALANCER_FILE: "has to be a plain file name: small letters, digits, _ and -, and an ending as in pages.cfg",
    COMMAND_NAME: "has to be 1 to 32 small letters, digits, _ and -, the first one a letter",
    NAMING: "has to be letters, digits and any of _ . -, with $I, $3I or $8R where names differ",
    HOOK_URL: "has to be an address that begins with http:// or https://",
    METRIC: "has to be 1 to 64 letters, digits and any of _ . -, the first one a letter",
}
"""As an error says it behind the path of the text."""
