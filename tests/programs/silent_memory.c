// Its memory cannot be looked at: what reads its command line or its maps waits for ever, as ps does.
//
// A file system does not answer, while the lock of the memory is held for reading (by a read of
// /proc/self/mem) and asked for by a writer: later readers queue behind that one. Prints the pid of the
// process that is silent; its parent is the file system, whose end releases it.
// Arguments: an empty folder.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, NOT_ALLOWED = 3 };

static int read_seen[2];  // written by the file system when it is asked for the page
static int go[2];         // written by the main thread: the lock is held for reading
static void *page;
static volatile pid_t writer;

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd >= 0) {
        if (write(fd, text, strlen(text)) < 0)
            perror(path);
        close(fd);
    }
}

static int enter_namespaces(void) {
    uid_t user = getuid();
    gid_t group = getgid();
    if (user == 0 && unshare(CLONE_NEWNS) == 0)
        return 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return -1;
    char map[64];
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %d 1", (int)user);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %d 1", (int)group);
    write_file("/proc/self/gid_map", map);
    return 0;
}

static void reply(int fd, uint64_t request, int error, const void *data, size_t size) {
    char buffer[512];
    struct fuse_out_header head = {(uint32_t)(sizeof head + size), error, request};
    memcpy(buffer, &head, sizeof head);
    memcpy(buffer + sizeof head, data, size);
    if (write(fd, buffer, sizeof head + size) < 0)
        _exit(1);
}

static struct fuse_attr describe(uint64_t node) {
    struct fuse_attr attr = {.ino = node, .nlink = 1, .blksize = PAGE};
    attr.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
    attr.size = node == FUSE_ROOT_ID ? 0 : 16 * PAGE;
    return attr;
}

static void serve(int fd) {
    static char buffer[1 << 18];
    for (;;) {
        if (read(fd, buffer, sizeof buffer) < 0)
            _exit(errno == ENODEV ? 0 : 1);
        struct fuse_in_header *asked = (struct fuse_in_header *)buffer;
        if (asked->opcode == FUSE_INIT) {
            struct fuse_init_out out = {.major = 7, .minor = 31, .max_write = PAGE};
            reply(fd, asked->unique, 0, &out, sizeof out);
        } else if (asked->opcode == FUSE_LOOKUP) {
            struct fuse_entry_out out = {.nodeid = 2, .entry_valid = 100, .attr_valid = 100};
            out.attr = describe(2);
            reply(fd, asked->unique, 0, &out, sizeof out);
        } else if (asked->opcode == FUSE_GETATTR) {
            struct fuse_attr_out out = {.attr_valid = 100, .attr = describe(asked->nodeid)};
            reply(fd, asked->unique, 0, &out, sizeof out);
        } else if (asked->opcode == FUSE_OPEN) {
            struct fuse_open_out out = {.fh = 1};
            reply(fd, asked->unique, 0, &out, sizeof out);
        } else if (asked->opcode == FUSE_READ) {
            if (write(read_seen[1], "", 1) != 1)
                _exit(1);
        } else if (asked->opcode != FUSE_FORGET && asked->opcode != FUSE_INTERRUPT) {
            reply(fd, asked->unique, -ENOSYS, "", 0);
        }
    }
}

static void *hold_for_reading(void *unused) {
    static char copy[PAGE];
    int memory = open("/proc/self/mem", O_RDONLY);
    if (pread(memory, copy, 1, (off_t)(uintptr_t)page) < 0)
        _exit(0);  // the file system has gone
    return unused;
}

static void *ask_for_writing(void *unused) {
    char byte;
    writer = (pid_t)syscall(SYS_gettid);
    if (read(go[0], &byte, 1) == 1)
        mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return unused;
}

static char read_state(const char *path) {
    char text[512] = "";
    int fd = open(path, O_RDONLY);
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    char *end = size > 0 ? strrchr(text, ')') : NULL;
    return end ? end[2] : '?';
}

static void be_silent(const char *folder) {
    char path[4096], byte, text[32];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof path, "%s/file", folder);
    int file = open(path, O_RDONLY);
    page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 0);
    if (file < 0 || page == MAP_FAILED)
        _exit(4);
    pthread_t one, other;
    pthread_create(&other, NULL, ask_for_writing, NULL);
    while (writer == 0)
        sched_yield();
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)writer);
    int size = snprintf(text, sizeof text, "%d\n", (int)getpid());
    pthread_create(&one, NULL, hold_for_reading, NULL);
    if (read(read_seen[0], &byte, 1) != 1 || write(go[1], "", 1) != 1)
        _exit(5);
    while (read_state(path) != 'D')
        sched_yield();
    if (write(1, text, (size_t)size) != size)
        _exit(6);
    for (;;)
        pause();
}

int main(int count, char **arguments) {
    char options[128];
    if (count != 2)
        return 2;
    if (enter_namespaces() != 0 || pipe(read_seen) != 0 || pipe(go) != 0)
        return NOT_ALLOWED;
    int fd = open("/dev/fuse", O_RDWR);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    if (fd < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("silent", arguments[1], "fuse", MS_NOSUID | MS_NODEV, options) != 0)
        return NOT_ALLOWED;
    pid_t child = fork();
    if (child == 0) {
        close(fd);  // the file system must end with its process
        be_silent(arguments[1]);
    }
    serve(fd);
}
