/* What belongs to the process: gRPC's start and end, its log messages, signals. */
#include <errno.h>
#include <grpc/support/log.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/rpc/rpc_internal.h"

static int stop_event = -1;

static _Thread_local char *captured;
static _Thread_local size_t captured_size;

void grpc_messages_capture(char *text, size_t size)
{
    text[0] = '\0';
    captured = text;
    captured_size = size;
}

void grpc_messages_release(void)
{
    captured = NULL;
}

static void take_grpc_message(gpr_log_func_args *args)
{
    static _Atomic int64_t next_allowed;
    if (captured) {
        snprintf(captured, captured_size, "%s", args->message);
        return;
    }
    /* a client can provoke some of these with every call: one a second is enough to know */
    int64_t now = clock_monotonic_micros(), allowed = atomic_load(&next_allowed);
    if (now < allowed || !atomic_compare_exchange_strong(&next_allowed, &allowed, now + MICROS_PER_SECOND))
        return;
    log_write(args->severity == GPR_LOG_SEVERITY_ERROR ? LOG_WARN : LOG_DEBUG, "grpc.message",
              (const struct log_value[]) { KV_STR("message", args->message), KV_STR("file", args->file), KV_I64("line", args->line) }, 3);
}

static sigset_t stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

static void die(const char *what)
{
    log_error("rpc.init_failed", KV_STR("call", what), KV_I64("errno", errno));
    abort();
}

void rpc_init(void)
{
    /* before grpc_init: its threads inherit the mask, and a signal goes to any thread that lets it in */
    sigset_t set = stop_signals();
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        die("pthread_sigmask");
    signal(SIGPIPE, SIG_IGN);
    if (stop_event < 0)
        stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_event < 0)
        die("eventfd");
    gpr_set_log_function(take_grpc_message);
    grpc_init();
}

void rpc_shutdown(void)
{
    grpc_shutdown_blocking();
    close(stop_event);
    stop_event = -1;
}

int rpc_wait_for_signal(int64_t until)
{
    sigset_t set = stop_signals();
    sigaddset(&set, SIGHUP);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0)
        die("signalfd");
    int received = 0;
    for (;;) {
        struct pollfd wait[] = { { .fd = signals, .events = POLLIN }, { .fd = stop_event, .events = POLLIN } };
        int timeout = -1;
        if (until != NO_DEADLINE) {
            int64_t left = until - clock_monotonic_micros();
            if (left <= 0) {
                received = -1;
                break;
            }
            timeout = left / 1000 >= INT_MAX ? INT_MAX : (int)(left / 1000) + 1;
        }
        if (poll(wait, 2, timeout) < 0) {
            if (errno == EINTR)
                continue;
            die("poll");
        }
        struct signalfd_siginfo info;
        uint64_t stops;
        if (wait[0].revents && read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
            received = (int)info.ssi_signo;
            break;
        }
        if (wait[1].revents && read(stop_event, &stops, sizeof stops) == (ssize_t)sizeof stops)
            break;
    }
    close(signals);
    return received;
}

void rpc_stop_waiting(void)
{
    uint64_t one = 1;
    ssize_t ignored = write(stop_event, &one, sizeof one); /* fails only when it is already set */
    (void)ignored;
}
