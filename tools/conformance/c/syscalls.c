/* Runs a server and ends it, or lets a sync fail, at the nth system call that changes its files.
 *
 *   syscalls CONTROL FILTER PROGRAM ARGUMENTS...
 *
 * CONTROL is a file of five 64-bit numbers that the runner changes while the server runs: calls counted, the count from which on
 * something happens (0: never), what (1: SIGKILL before the call; 2: a sync returns EIO and does nothing), how often it happened,
 * and the number of the system call it happened to. Calls whose file's path does not contain FILTER do not count. A seccomp filter
 * stops the server only at these calls; a preloaded library would miss those that are made without the C library. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __x86_64__
#error "only for x86_64"
#endif

enum { COUNT, FROM, WHAT, HAPPENED, CALL, NUMBERS };
enum { KILL = 1, FAIL_SYNC = 2 };

/* Those of the first kind have a descriptor, those of the second a path, as their first argument; the last a path as their second. */
static const int by_descriptor[] = {SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_fsync, SYS_fdatasync, SYS_syncfs, SYS_ftruncate};
static const int by_path[] = {SYS_rename, SYS_unlink, SYS_mkdir, SYS_rmdir};
static const int by_second[] = {SYS_renameat, SYS_renameat2, SYS_unlinkat, SYS_mkdirat, SYS_openat};
#define LENGTH(array) (sizeof(array) / sizeof *(array))

static int has(const int *calls, size_t count, long call) {
    for (size_t at = 0; at < count; at++)
        if (calls[at] == call) return 1;
    return 0;
}

static void stop_at_calls(void) {
    struct sock_filter program[64];
    int length = 0;
    program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    const int *lists[] = {by_descriptor, by_path, by_second};
    size_t counts[] = {LENGTH(by_descriptor), LENGTH(by_path), LENGTH(by_second)};
    for (int list = 0; list < 3; list++)
        for (size_t at = 0; at < counts[list]; at++) {
            program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, lists[list][at], 0, 1);
            program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
        }
    program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {.len = (unsigned short)length, .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) _exit(120);
}

static pid_t server;

static void forward(int number) { kill(server, number); }

/* The path of a call's file; empty if it cannot be told. */
static void path_of(pid_t thread, const struct user_regs_struct *regs, char *path) {
    path[0] = 0;
    long call = (long)regs->orig_rax;
    if (has(by_descriptor, LENGTH(by_descriptor), call)) {
        char link[64];
        snprintf(link, sizeof link, "/proc/%d/fd/%d", thread, (int)regs->rdi);
        ssize_t length = readlink(link, path, PATH_MAX - 1);
        path[length < 0 ? 0 : length] = 0;
        return;
    }
    unsigned long at = has(by_path, LENGTH(by_path), call) ? regs->rdi : regs->rsi;
    for (size_t got = 0; got < PATH_MAX - 8; got += sizeof(long)) {
        errno = 0;
        long word = ptrace(PTRACE_PEEKDATA, thread, at + got, 0);
        if (errno) { path[got] = 0; return; }
        memcpy(path + got, &word, sizeof word);
        if (memchr(&word, 0, sizeof word)) return;
    }
    path[PATH_MAX - 8] = 0;
}

static int is_sync(long call) { return call == SYS_fsync || call == SYS_fdatasync || call == SYS_syncfs; }

/* One call; 1 if the server was killed. */
static int on_call(pid_t thread, volatile uint64_t *control, const char *filter) {
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, thread, 0, &regs)) return 0;
    long call = (long)regs.orig_rax;
    if (call == SYS_openat && !(regs.rdx & (O_CREAT | O_TRUNC))) return 0;
    if (control[WHAT] == FAIL_SYNC && !is_sync(call)) return 0;
    char path[PATH_MAX];
    path_of(thread, &regs, path);
    if (!strstr(path, filter)) return 0;
    uint64_t count = ++control[COUNT];
    if (!control[FROM] || count < control[FROM]) return 0;
    control[FROM] = 0;
    control[CALL] = (uint64_t)call;
    if (control[WHAT] == FAIL_SYNC) {
        regs.orig_rax = (unsigned long long)-1;
        regs.rax = (unsigned long long)-EIO;
        ptrace(PTRACE_SETREGS, thread, 0, &regs);
        control[HAPPENED]++;
        return 0;
    }
    kill(server, SIGKILL);
    control[HAPPENED]++;
    return 1;
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    int file = open(arguments[1], O_RDWR | O_CLOEXEC);
    volatile uint64_t *control = mmap(0, NUMBERS * sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || control == MAP_FAILED) return 2;
    server = fork();
    if (server == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        stop_at_calls();
        execv(arguments[3], arguments + 3);
        _exit(121);
    }
    int status;
    if (waitpid(server, &status, 0) != server) return 2;
    long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                   PTRACE_O_TRACEVFORK;
    if (ptrace(PTRACE_SETOPTIONS, server, 0, options) || ptrace(PTRACE_CONT, server, 0, 0)) return 2;
    signal(SIGTERM, forward);
    for (;;) {
        pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0 && errno == EINTR) continue;
        if (thread < 0) return 2;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (thread != server) continue;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        int number = WSTOPSIG(status), event = status >> 16;
        if (event == PTRACE_EVENT_SECCOMP) {
            if (on_call(thread, control, arguments[2])) continue;
            number = 0;
        } else if (event || number == SIGSTOP) {
            /* A new thread, or its first stop. */
            number = 0;
        }
        ptrace(PTRACE_CONT, thread, 0, number);
    }
}
