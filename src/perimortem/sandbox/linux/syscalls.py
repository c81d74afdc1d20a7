"""The system calls that a confined process may not make, by number (asm/unistd_64.h, asm-generic)."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""linux/audit.h"""

_X86_64 = {
    # network
    "socket": 41, "socketpair": 53, "connect": 42, "accept": 43, "bind": 49, "listen": 50,
    "accept4": 288, "sendto": 44, "sendmsg": 46, "sendmmsg": 307,
    # other processes
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kill": 62, "tkill": 200,
    "tgkill": 234,
    "pidfd_send_signal": 424, "pidfd_getfd": 438, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
    "kcmp": 312, "process_madvise": 440, "process_mrelease": 448, "move_pages": 279,
    "migrate_pages": 256, "setpriority": 141, "sched_setaffinity": 203, "sched_setscheduler": 144,
    "sched_setparam": 142, "sched_setattr": 314, "ioprio_set": 251, "setpgid": 109,
    "get_robust_list": 274, "pidfd_open": 434,
    "execve": 59, "execveat": 322,
    # rights of files, which Landlock does not restrict
    "chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452, "chown": 92, "fchown": 93,
    "lchown": 94, "fchownat": 260, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190,
    "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "mknod": 133, "mknodat": 259,
    # the kernel
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425, "keyctl": 250,
    "add_key": 248, "request_key": 249, "mount": 165, "umount2": 166, "pivot_root": 155,
    "chroot": 161, "move_mount": 429, "open_tree": 428, "fsopen": 430, "mount_setattr": 442,
    "unshare": 272, "setns": 308, "init_module": 175, "finit_module": 313, "delete_module": 176,
    "kexec_load": 246, "kexec_file_load": 320, "reboot": 169, "swapon": 167, "swapoff": 168,
    "sethostname": 170, "setdomainname": 171, "settimeofday": 164, "clock_settime": 227,
    "clock_adjtime": 305, "adjtimex": 159, "open_by_handle_at": 304, "quotactl": 179, "acct": 163,
    "syslog": 103, "iopl": 172, "ioperm": 173, "modify_ldt": 154, "setuid": 105, "setgid": 106,
    "setresuid": 117, "setresgid": 119, "setreuid": 113, "setregid": 114, "setgroups": 116,
    "vhangup": 153, "fanotify_init": 300, "lookup_dcookie": 212, "personality": 135,
}  # fmt: skip
_AARCH64 = {
    "socket": 198, "socketpair": 199, "connect": 203, "accept": 202, "bind": 200,
    "listen": 201, "accept4": 242, "sendto": 206, "sendmsg": 211, "sendmmsg": 269,
    "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kill": 129, "tkill": 130,
    "tgkill": 131,
    "pidfd_send_signal": 424, "pidfd_getfd": 438, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240,
    "kcmp": 272, "process_madvise": 440, "process_mrelease": 448, "move_pages": 239,
    "migrate_pages": 238, "setpriority": 140, "sched_setaffinity": 122, "sched_setscheduler": 119,
    "sched_setparam": 118, "sched_setattr": 274, "ioprio_set": 30, "setpgid": 154,
    "get_robust_list": 100, "pidfd_open": 434,
    "execve": 221, "execveat": 281,
    "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "fchown": 55, "fchownat": 54, "setxattr": 5,
    "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16,
    "mknodat": 33,
    "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "io_uring_setup": 425, "keyctl": 219,
    "add_key": 217, "request_key": 218, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
    "move_mount": 429, "open_tree": 428, "fsopen": 430, "mount_setattr": 442, "unshare": 97,
    "setns": 268, "init_module": 105, "finit_module": 273, "delete_module": 106, "kexec_load": 104,
    "kexec_file_load": 294, "reboot": 142, "swapon": 224, "swapoff": 225, "sethostname": 161,
    "setdomainname": 162, "settimeofday": 170, "clock_settime": 112, "clock_adjtime": 266,
    "adjtimex": 171, "open_by_handle_at": 265, "quotactl": 60, "acct": 89, "syslog": 116,
    "setuid": 146, "setgid": 144, "setresuid": 147, "setresgid": 149, "setreuid": 145,
    "setregid": 143, "setgroups": 159, "vhangup": 58, "fanotify_init": 262, "lookup_dcookie": 18,
    "personality": 92,
}  # fmt: skip
OWN_ONLY = {"x86_64": {"prlimit64": 302}, "aarch64": {"prlimit64": 261}}
"""Allowed with 0 as the pid: on this process."""
READ_OTHER = {"x86_64": 310, "aarch64": 270}
"""process_vm_readv."""
OPENS = {
    "x86_64": {"open": (2, 1), "openat": (257, 2)},
    "aarch64": {"openat": (56, 2)},
}
"""And which argument has the flags."""
CHANGES = {
    "x86_64": {
        "creat": 85, "openat2": 437, "rename": 82, "renameat": 264, "renameat2": 316, "unlink": 87,
        "unlinkat": 263, "rmdir": 84, "mkdir": 83, "mkdirat": 258, "link": 86, "linkat": 265,
        "symlink": 88, "symlinkat": 266, "truncate": 76, "utime": 132, "utimes": 235,
        "futimesat": 261, "utimensat": 280,
    },
    "aarch64": {
        "openat2": 437, "renameat": 38, "renameat2": 276, "unlinkat": 35, "mkdirat": 34,
        "linkat": 37, "symlinkat": 36, "truncate": 45, "utimensat": 88,
    },
}  # fmt: skip
"""Of files: refused where Landlock cannot do it, since it would refuse the reading of a process, too."""
REFUSED = {"x86_64": _X86_64, "aarch64": _AARCH64}
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
"""The same on every architecture."""
