/* A disk that fails: a library for LD_PRELOAD.
 *
 * Counts the calls by which a process changes files below the directory FAULT_DIR, and lets some of
 * them fail. Which ones, a driver says in the process (fault_at), or the environment does for
 * all processes that are started: FAULT_RATE, the chance of a call to fail, and FAULT_SEED.
 * Failures are listed in the file FAULT_LOG. A close that fails closes the file, as on Linux.
 *
 * What the C library calls inside itself is not seen: a buffered stream (fwrite) fails as a whole.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static long calls, target = -1;
static int code = ENOSPC, sticky, ready, full;
static double rate;
static unsigned seed;
static char below[PATH_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* For a driver: the k-th call from now on fails with `error`; all that follow too if `for_ever`. */
void fault_at(long k, int error, int for_ever) { target = k, code = error, sticky = for_ever, calls = 0; }
long fault_calls(void) { return calls; }

static void prepare(void) {
    const char *dir = getenv("FAULT_DIR"), *chance = getenv("FAULT_RATE"), *start = getenv("FAULT_SEED");
    if (dir && !realpath(dir, below)) below[0] = 0;
    rate = chance ? atof(chance) : 0;
    seed = (start ? atoi(start) : 0) * 7919u + getpid();
    full = seed % 2;
    ready = 1;
}

static int counted(const char *path) {
    size_t n = strlen(below);
    return n && !strncmp(path, below, n) && (path[n] == '/' || !path[n]);
}

/* Whether the call on `path` fails; sets errno. */
static int path_fails(const char *name, const char *path) {
    int fails = 0;
    if (!counted(path)) return 0;
    pthread_mutex_lock(&lock);
    calls++;
    if (target >= 0) fails = sticky ? calls >= target : calls == target;
    if (rate > 0 && rand_r(&seed) < rate * RAND_MAX) fails = 1, code = full ? ENOSPC : EIO;
    if (fails && getenv("FAULT_LOG")) {
        char line[PATH_MAX + 64];
        int n = snprintf(line, sizeof line, "%s %ld %d %s\n", name, calls, code, path);
        int fd = syscall(SYS_openat, AT_FDCWD, getenv("FAULT_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0666);
        syscall(SYS_write, fd, line, n), syscall(SYS_close, fd);
    }
    pthread_mutex_unlock(&lock);
    if (fails) errno = code;
    return fails;
}

static int name_fails(const char *name, int at, const char *path) {
    char whole[2 * PATH_MAX], base[PATH_MAX], link[64];
    ssize_t n;
    if (!ready) prepare();
    if (!below[0] || !path) return 0;
    if (path[0] == '/') return path_fails(name, path);
    snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    if ((n = readlink(link, base, sizeof base - 1)) < 0) return 0;
    base[n] = 0;
    snprintf(whole, sizeof whole, "%s/%s", base, path);
    return path_fails(name, whole);
}

static int fd_fails(const char *name, int fd) {
    char path[PATH_MAX], link[64];
    ssize_t n;
    int kept = errno;
    if (!ready) prepare();
    if (!below[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if ((n = readlink(link, path, sizeof path - 1)) < 0) return errno = kept, 0;
    path[n] = 0;
    return path_fails(name, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ON_FD(type, name, declared, given) \
    type name declared { return fd_fails(#name, fd) ? -1 : REAL(name) given; }
#define ON_NAME(name, at, declared, given) \
    int name declared { return name_fails(#name, at, path) ? -1 : REAL(name) given; }

ON_FD(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n))
ON_FD(ssize_t, pwrite, (int fd, const void *data, size_t n, off_t at), (fd, data, n, at))
ON_FD(ssize_t, pwrite64, (int fd, const void *data, size_t n, off64_t at), (fd, data, n, at))
ON_FD(ssize_t, writev, (int fd, const struct iovec *data, int n), (fd, data, n))
ON_FD(ssize_t, sendfile, (int fd, int from, off_t *at, size_t n), (fd, from, at, n))
ON_FD(ssize_t, sendfile64, (int fd, int from, off64_t *at, size_t n), (fd, from, at, n))
ON_FD(int, fsync, (int fd), (fd))
ON_FD(int, fdatasync, (int fd), (fd))
ON_FD(int, ftruncate, (int fd, off_t n), (fd, n))
ON_FD(int, ftruncate64, (int fd, off64_t n), (fd, n))
ON_NAME(rename, AT_FDCWD, (const char *from, const char *path), (from, path))
ON_NAME(renameat, at, (int from, const char *old, int at, const char *path), (from, old, at, path))
ON_NAME(renameat2, at, (int from, const char *old, int at, const char *path, unsigned f), (from, old, at, path, f))
ON_NAME(mkdir, AT_FDCWD, (const char *path, mode_t mode), (path, mode))
ON_NAME(mkdirat, at, (int at, const char *path, mode_t mode), (at, path, mode))
ON_NAME(symlink, AT_FDCWD, (const char *to, const char *path), (to, path))

int close(int fd) {
    int mode = fcntl(fd, F_GETFL), kept;
    int fails = mode >= 0 && (mode & O_ACCMODE) != O_RDONLY && fd_fails("close", fd);
    int wrong = errno, done = REAL(close)(fd);
    kept = errno;
    return errno = fails ? wrong : kept, fails ? -1 : done;
}

size_t fwrite(const void *data, size_t size, size_t n, FILE *f) {
    return fd_fails("fwrite", fileno(f)) ? 0 : REAL(fwrite)(data, size, n, f);
}

#define OPEN(name, declared, at, ...)                                                       \
    int name declared {                                                                     \
        va_list rest;                                                                       \
        va_start(rest, flags);                                                              \
        mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(rest, mode_t) : 0;         \
        va_end(rest);                                                                       \
        if ((flags & O_ACCMODE) != O_RDONLY && name_fails(#name, at, path)) return -1;      \
        return REAL(name)(__VA_ARGS__, mode);                                               \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD, path, flags)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, path, flags)
OPEN(openat, (int at, const char *path, int flags, ...), at, at, path, flags)
OPEN(openat64, (int at, const char *path, int flags, ...), at, at, path, flags)

#define FOPEN(name)                                                                         \
    FILE *name(const char *path, const char *how) {                                         \
        return how[0] != 'r' && name_fails(#name, AT_FDCWD, path) ? NULL : REAL(name)(path, how); \
    }
FOPEN(fopen)
FOPEN(fopen64)
