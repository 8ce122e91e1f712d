/* A MongoDB server of this test, in a process of its own (scripts/mongodb-for-tests.sh says which). Everything
 * that goes wrong here ends the program. */
#ifndef ARGON_TESTS_MONGO_SERVER_H
#define ARGON_TESTS_MONGO_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct mongo_server {
    char folder[64];
    char uri[96];
    int port;
    pid_t pid; /* 0: not running */
};

enum { MONGO_SERVER_AUTH = 1, MONGO_SERVER_STANDALONE = 2 };

int free_tcp_port(void); /* nobody listens there now */

void mongo_server_make(struct mongo_server *server);             /* an empty folder and a port; not started */
void mongo_server_start(struct mongo_server *server, int flags); /* returns when it takes writes; the data of before is there */
void mongo_server_kill(struct mongo_server *server);             /* kill -9 */
void mongo_server_pause(struct mongo_server *server);            /* silent, connections stay */
void mongo_server_resume(struct mongo_server *server);
void mongo_server_remove(struct mongo_server *server); /* with its data */

#endif
