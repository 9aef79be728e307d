/* What a process does to the files below a folder, seen before it is done: told of, or refused as a full disk does.

   Built and preloaded by watched.py. Until watch() is called nothing is looked at. A program that calls the system by
   itself, past the C library, is not seen; Python, HDF5 and TensorFlow do not. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t folder_length;
static int tells = -1, answers = -1, error_number;
static long count, fails_from;
static pid_t owner;
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

/* Events below `path` are told to the descriptor `told`, each as a line, and wait for a byte from `answered`; if
   `from` is above 0, that one and all behind it that want room fail with `number`. */
void watch(const char *path, int told, int answered, long from, int number) {
    folder_length = (size_t)snprintf(folder, sizeof folder, "%s", path);
    tells = told;
    answers = answered;
    fails_from = from;
    error_number = number;
    count = 0;
    owner = getpid();
}

long seen(void) { return count; }

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

#define REAL(result, name, ...)                                  \
    static result (*real)(__VA_ARGS__);                          \
    if (!real) real = (result(*)(__VA_ARGS__))next(#name)

static int is_below(const char *path) { return !strncmp(path, folder, folder_length) && (path[folder_length] == '/' || !path[folder_length]); }

static int concerns(int at, const char *path) {
    char whole[2 * PATH_MAX], base[PATH_MAX], link[64];
    if (!folder_length || owner != getpid() || !path) return 0;
    if (path[0] == '/') return is_below(path);
    if (at == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return 0;
        base[length] = 0;
    }
    snprintf(whole, sizeof whole, "%s/%s", base, path);
    return is_below(whole);
}

static int concerns_open(int handle) {
    char link[64], path[PATH_MAX];
    if (!folder_length || owner != getpid()) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

/* One event; whether it is to fail. */
static int event(const char *what, const char *which, int wants_room) {
    int kept = errno, fails;
    pthread_mutex_lock(&one);
    count++;
    if (tells >= 0) {
        char line[PATH_MAX + 64], byte;
        int length = snprintf(line, sizeof line, "%s %s\n", what, which ? which : "");
        static ssize_t (*real)(int, const void *, size_t);
        if (!real) real = (ssize_t(*)(int, const void *, size_t))next("write");
        if (real(tells, line, (size_t)length) > 0 && answers >= 0)
            while (read(answers, &byte, 1) < 0 && errno == EINTR) {}
    }
    fails = fails_from > 0 && count >= fails_from && wants_room;
    pthread_mutex_unlock(&one);
    errno = fails ? error_number : kept;
    return fails;
}

static int changes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC); }

#define OPEN(name)                                                                       \
    int name(const char *path, int flags, ...) {                                         \
        REAL(int, name, const char *, int, ...);                                         \
        va_list list;                                                                    \
        va_start(list, flags);                                                           \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;        \
        va_end(list);                                                                    \
        if (changes(flags) && concerns(AT_FDCWD, path) && event("open", path, (flags & O_CREAT) != 0)) return -1; \
        return real(path, flags, mode);                                                  \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                     \
    int name(int at, const char *path, int flags, ...) {                                 \
        REAL(int, name, int, const char *, int, ...);                                    \
        va_list list;                                                                    \
        va_start(list, flags);                                                           \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;        \
        va_end(list);                                                                    \
        if (changes(flags) && concerns(at, path) && event("open", path, (flags & O_CREAT) != 0)) return -1; \
        return real(at, path, flags, mode);                                              \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                      \
    FILE *name(const char *path, const char *mode) {                                     \
        REAL(FILE *, name, const char *, const char *);                                  \
        if (strpbrk(mode, "wa+") && concerns(AT_FDCWD, path) && event("open", path, 1)) return NULL; \
        return real(path, mode);                                                         \
    }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t write(int handle, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    if (concerns_open(handle) && event("write", NULL, 1)) return -1;
    return real(handle, data, size);
}

#define PWRITE(name)                                                                     \
    ssize_t name(int handle, const void *data, size_t size, off_t place) {               \
        REAL(ssize_t, name, int, const void *, size_t, off_t);                           \
        if (concerns_open(handle) && event("write", NULL, 1)) return -1;                 \
        return real(handle, data, size, place);                                          \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t writev(int handle, const struct iovec *parts, int n) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (concerns_open(handle) && event("write", NULL, 1)) return -1;
    return real(handle, parts, n);
}

size_t fwrite(const void *data, size_t size, size_t n, FILE *file) {
    REAL(size_t, fwrite, const void *, size_t, size_t, FILE *);
    if (folder_length && concerns_open(fileno(file)) && event("write", NULL, 1)) return 0;
    return real(data, size, n, file);
}

int fflush(FILE *file) {
    REAL(int, fflush, FILE *);
    if (file && folder_length && concerns_open(fileno(file)) && event("write", NULL, 1)) return EOF;
    return real(file);
}

#define PATH1(name, wants)                                                               \
    int name(const char *path) {                                                         \
        REAL(int, name, const char *);                                                   \
        if (concerns(AT_FDCWD, path) && event(#name, path, wants)) return -1;            \
        return real(path);                                                               \
    }
PATH1(unlink, 0)
PATH1(rmdir, 0)

int unlinkat(int at, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    if (concerns(at, path) && event("unlink", path, 0)) return -1;
    return real(at, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    if (concerns(AT_FDCWD, path) && event("mkdir", path, 1)) return -1;
    return real(path, mode);
}

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    if (concerns(AT_FDCWD, to) && event("rename", to, 0)) return -1;
    return real(from, to);
}

int renameat(int at, const char *from, int where, const char *to) {
    REAL(int, renameat, int, const char *, int, const char *);
    if (concerns(where, to) && event("rename", to, 0)) return -1;
    return real(at, from, where, to);
}

int symlink(const char *what, const char *path) {
    REAL(int, symlink, const char *, const char *);
    if (concerns(AT_FDCWD, path) && event("symlink", path, 1)) return -1;
    return real(what, path);
}

#define TRUNCATE(name)                                                                   \
    int name(int handle, off_t size) {                                                   \
        REAL(int, name, int, off_t);                                                     \
        if (concerns_open(handle) && event("truncate", NULL, 1)) return -1;              \
        return real(handle, size);                                                       \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int fsync(int handle) {
    REAL(int, fsync, int);
    if (concerns_open(handle) && event("sync", NULL, 1)) return -1;
    return real(handle);
}
