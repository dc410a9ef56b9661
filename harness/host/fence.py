# SPDX-License-Identifier: GPL-2.0-only
"""The last fence stands on the machine: the largest token that it was shown. A holder that was overtaken while its
command was on the way is refused there."""

from __future__ import annotations

import shlex

FILE = "/var/lib/xdna-harness/fence"
"""On the disk: an old holder's command may come after a reboot."""
REFUSED = 76
"""Exit status of a refused script; EX_PROTOCOL of sysexits.h."""
WORD = "xdna-fence: refused"

_CHECK = """\
umask 022; mkdir -p "${1%/*}" && exec 9>>"$1.lock" && flock -w 10 9 || { echo "xdna-fence: cannot write $1"; exit 76; }
seen=$(head -n 1 "$1" 2>/dev/null); seen=${seen:-0}
case "$seen" in *[!0-9]*) seen=0;; esac
[ "$seen" -le "$2" ] || { echo "xdna-fence: refused, a later holder has this machine: $(tail -n 1 "$1")"; exit 76; }
[ "$seen" -eq "$2" ] || { printf '%s\\n%s\\n' "$2" "$3" >"$1.new" && sync "$1.new" && mv "$1.new" "$1"; }
"""


def guarded(script: str, token: int, who: str, root: str = "", file: str = FILE) -> str:
    """The sh script behind the fence: it runs only if no later token was seen; its exit status is its own, or
    REFUSED with a line that begins with WORD. ``root``: what a command must begin with to run as root ("sudo -n ")."""
    check = shlex.join(["sh", "-c", _CHECK, "fence", file, str(token), who])
    return f"{root}{check} </dev/null || exit $?\n{script}"
