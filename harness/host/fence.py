# SPDX-License-Identifier: GPL-2.0-only
"""The last fence stands on the machine: the largest token that it was shown. A holder that was overtaken while its
command was on the way is refused there.

A user who is not root there, and may not become root, is let through: he can do nothing that would need a lease. So is
everybody where the disk is full: a fence that is not raised must not keep away who repairs the machine.
"""

from __future__ import annotations

import shlex

FOLDERS = "/var/lib/xdna-harness /run/xdna-harness"
"""The first that can be written. On the disk, since an old holder's command may come after a reboot."""
REFUSED = 76
"""Exit status of a script that was not run; EX_PROTOCOL of sysexits.h."""
WORD = "xdna-fence:"
OVERTAKEN = "a later holder"
"""In that line: the machine is another's. Else the fence itself cannot be raised."""

_CHECK = """\
umask 022
for d in $1; do mkdir -p "$d" 2>/dev/null && : 2>/dev/null >>"$d/fence.lock" && break; done
f=$d/fence; exec 9>>"$f.lock" && flock -w 10 9 || { echo "xdna-fence: cannot write $f"; exit 76; }
seen=$(head -n 1 "$f" 2>/dev/null); case "$seen" in ""|*[!0-9]*) seen=0;; esac
[ "$seen" -le "$2" ] || { echo "xdna-fence: a later holder has this machine: $(tail -n 1 "$f")"; exit 76; }
[ "$seen" -eq "$2" ] || { printf '%s\\n%s\\n' "$2" "$3" >"$f.new" && sync "$f.new" && mv "$f.new" "$f"; } 2>/dev/null
:
"""
_AS_ROOT = """\
if [ "$(id -u)" = 0 ]; then {check}; elif sudo -n true 2>/dev/null; then sudo -n {check}; fi </dev/null || exit $?
{script}"""


def guarded(script: str, token: int, who: str, folders: str = FOLDERS) -> str:
    """The sh script behind the fence: it runs only if no later token was seen. Its exit status is its own, or REFUSED
    after a line that begins with WORD and says why."""
    check = shlex.join(["sh", "-c", _CHECK, "fence", folders, str(token), who])
    return _AS_ROOT.format(check=check, script=script)
