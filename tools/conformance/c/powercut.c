/* Preloaded into a server of the kill rounds: notes how long a file was when it was last synced.
 *
 * A process that is killed loses nothing that it wrote: the kernel still has it. A machine without power loses what was not synced.
 * For each fdatasync and fsync that succeeds a line `<length> <path>` is appended to the file that POWERCUT_NOTES names; the length is
 * that of before the call, which is what the call promises. The runner then cuts each log somewhere behind its noted length. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int note(int descriptor, const char *name) {
    struct stat about;
    int known = fstat(descriptor, &about) == 0 && S_ISREG(about.st_mode);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int failed = real(descriptor);
    const char *notes = getenv("POWERCUT_NOTES");
    if (failed || !known || !notes) return failed;
    char link[64], path[PATH_MAX], line[PATH_MAX + 32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return failed;
    path[length] = 0;
    int size = snprintf(line, sizeof line, "%lld %s\n", (long long)about.st_size, path);
    /* One write in append mode: lines of threads never mix. */
    int out = open(notes, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (out < 0 || write(out, line, (size_t)size) != size) abort();
    close(out);
    return failed;
}

int fdatasync(int descriptor) { return note(descriptor, "fdatasync"); }

int fsync(int descriptor) { return note(descriptor, "fsync"); }
