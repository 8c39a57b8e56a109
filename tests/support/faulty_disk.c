/* Preloaded into a test's process: lets the system calls that change files below one folder fail.

fault_arm(folder, after, count, error): the calls number `after` .. `after + count - 1` from now on fail with `error`;
count < 0: all from `after` on. A write of several bytes that is due to fail first writes half of them, as on a disk
that has room for so much. fault_disarm() ends it and gives the number of calls there were. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long calls, first, last;
static int number, halved, armed;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

void fault_arm(const char *below, long after, long count, int error) {
    snprintf(folder, sizeof folder, "%s/", below);
    calls = 0, first = after, last = count < 0 ? LONG_MAX : after + count;
    number = error, halved = 0, armed = 1;
}

long fault_disarm(void) {
    armed = 0;
    return calls;
}

static int below(const char *path) { return strncmp(path, folder, strlen(folder)) == 0; }

static int below_fd(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* whether this call fails; errno is set then */
static int fails(void) {
    long call = __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
    if (call < first || call >= last) return 0;
    errno = number;
    return 1;
}

ssize_t write(int fd, const void *data, size_t size) {
    if (armed && below_fd(fd) && fails()) {
        if (size < 2 || halved++) return -1;
        if (last != LONG_MAX) last++; /* the half that is written is no failure yet */
        return REAL(write)(fd, data, size / 2);
    }
    return REAL(write)(fd, data, size);
}

int fsync(int fd) { return armed && below_fd(fd) && fails() ? -1 : REAL(fsync)(fd); }

int ftruncate64(int fd, off64_t size) { return armed && below_fd(fd) && fails() ? -1 : REAL(ftruncate64)(fd, size); }

int mkdir(const char *path, mode_t mode) { return armed && below(path) && fails() ? -1 : REAL(mkdir)(path, mode); }

int rename(const char *from, const char *to) { return armed && below(to) && fails() ? -1 : REAL(rename)(from, to); }

int unlink(const char *path) { return armed && below(path) && fails() ? -1 : REAL(unlink)(path); }

int chmod(const char *path, mode_t mode) { return armed && below(path) && fails() ? -1 : REAL(chmod)(path, mode); }

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    if (armed && (flags & (O_WRONLY | O_RDWR | O_CREAT)) && below(path) && fails()) return -1;
    return REAL(open64)(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    if (armed && (flags & (O_WRONLY | O_RDWR | O_CREAT)) && below(path) && fails()) return -1;
    return REAL(open)(path, flags, mode);
}
