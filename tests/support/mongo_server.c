#include "tests/support/mongo_server.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRIPT ARGON_SOURCE_DIR "/scripts/mongodb-for-tests.sh"

static void die(const char *what)
{
    perror(what);
    abort();
}

int free_tcp_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        die("a free port");
    close(fd);
    return ntohs(address.sin_port);
}

void mongo_server_make(struct mongo_server *server)
{
    memset(server, 0, sizeof *server);
    strcpy(server->folder, "/tmp/argon-mongo-XXXXXX");
    if (!mkdtemp(server->folder))
        die("mkdtemp");
    server->port = free_tcp_port();
    snprintf(server->uri, sizeof server->uri, "mongodb://127.0.0.1:%d/?directConnection=true", server->port);
}

void mongo_server_start(struct mongo_server *server, int flags)
{
    char port[16], log[96], ready[256];
    snprintf(port, sizeof port, "%d", server->port);
    snprintf(log, sizeof log, "%s.log", server->folder);
    pid_t parent = getpid();
    server->pid = fork();
    if (server->pid < 0)
        die("fork");
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that aborts leaves no server behind */
        if (getppid() != parent)
            _exit(1);
        if (!freopen(log, "a", stdout) || dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
            _exit(1);
        const char *arguments[8] = { SCRIPT, "exec", port, server->folder };
        int n = 4;
        if (flags & MONGO_SERVER_AUTH)
            arguments[n++] = "--auth";
        if (flags & MONGO_SERVER_STANDALONE)
            arguments[n++] = "--standalone";
        execv(SCRIPT, (char *const *)arguments);
        _exit(127);
    }
    snprintf(ready, sizeof ready, "%s ready %d%s || { tail -n 20 %s.log >&2; exit 1; }", SCRIPT, server->port,
             flags & MONGO_SERVER_STANDALONE ? " --standalone" : "", server->folder);
    if (system(ready) != 0)
        die("the MongoDB server did not start");
}

static void signal_server(struct mongo_server *server, int number)
{
    if (!server->pid || kill(server->pid, number) < 0)
        die("signal to the MongoDB server");
}

void mongo_server_kill(struct mongo_server *server)
{
    signal_server(server, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

void mongo_server_pause(struct mongo_server *server)
{
    int status;
    signal_server(server, SIGSTOP);
    if (waitpid(server->pid, &status, WUNTRACED) < 0 || !WIFSTOPPED(status))
        die("the MongoDB server did not stop");
}

void mongo_server_resume(struct mongo_server *server)
{
    signal_server(server, SIGCONT);
}

void mongo_server_remove(struct mongo_server *server)
{
    char command[160];
    if (server->pid)
        mongo_server_kill(server);
    snprintf(command, sizeof command, "rm -rf '%s' '%s.log'", server->folder, server->folder);
    if (system(command) != 0)
        die("removing the MongoDB server's folder");
}
