#include "common/service/metrics_server.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/memory.h"
#include "common/service/process_metrics.h"

enum { MOST_CONNECTIONS = 64, IDLE_SECONDS = 10, MEMORY_A_CONNECTION = 16 * 1024, BACKLOG = 256 };

struct metrics_server {
    struct metrics_server_options options;
    struct MHD_Daemon *daemon;
    int port;
    int connections[MOST_CONNECTIONS]; /* the oldest first; of the daemon's thread alone */
    size_t n_connections;
};

/* ---- the pages -------------------------------------------------------------------------------------- */

struct page {
    unsigned status;
    const char *type;
    struct buffer body;
};

static void set_text(struct page *page, unsigned status, const char *text)
{
    page->status = status;
    buffer_append(&page->body, text, strlen(text));
}

static void write_metrics(struct metrics_server *server, struct page *page)
{
    page->type = "text/plain; version=0.0.4; charset=utf-8";
    page->status = MHD_HTTP_OK;
    server->options.write(server->options.ctx, &page->body);
    rpc_server_write_metrics(server->options.server, &page->body);
    process_metrics_write(server->options.service, &page->body);
}

static void make_page(struct metrics_server *server, const char *url, const char *method, struct page *page)
{
    *page = (struct page) { .type = "text/plain; charset=utf-8" };
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        set_text(page, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD\n");
    else if (strcmp(url, "/metrics") == 0)
        write_metrics(server, page);
    else if (strcmp(url, "/healthz") == 0)
        set_text(page, MHD_HTTP_OK, "alive\n");
    else if (strcmp(url, "/readyz") != 0)
        set_text(page, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz\n");
    else if (rpc_server_is_serving(server->options.server))
        set_text(page, MHD_HTTP_OK, "ready\n");
    else
        set_text(page, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready\n");
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **state)
{
    static char seen; /* the first call of a request comes before its body, the last one after it */
    (void)version;
    (void)upload;
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    struct page page;
    make_page(ctx, url, method, &page);
    struct MHD_Response *response =
        page.body.failed ? NULL : MHD_create_response_from_buffer(page.body.len, page.body.data, MHD_RESPMEM_MUST_COPY);
    buffer_destroy(&page.body);
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page.type);
    if (result == MHD_YES)
        result = MHD_queue_response(connection, page.status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- connections ------------------------------------------------------------------------------------ */

static void forget_connection(struct metrics_server *server, size_t i)
{
    server->n_connections--;
    memmove(server->connections + i, server->connections + i + 1, (server->n_connections - i) * sizeof *server->connections);
}

/* Who comes is let in, and the oldest goes instead: a probe asks at once, so it is clients which do not that are cut off, however many
   they are. A limit alone would let probes wait behind them. */
static void on_connection(void *ctx, struct MHD_Connection *connection, void **state, enum MHD_ConnectionNotificationCode what)
{
    struct metrics_server *server = ctx;
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    (void)state;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        if (server->n_connections == MOST_CONNECTIONS) {
            shutdown(server->connections[0], SHUT_RDWR); /* the daemon meets its end, and closes it */
            forget_connection(server, 0);
        }
        server->connections[server->n_connections++] = fd;
        return;
    }
    for (size_t i = 0; i < server->n_connections; i++)
        if (server->connections[i] == fd) {
            forget_connection(server, i);
            return;
        }
}

/* ---- life ------------------------------------------------------------------------------------------- */

static bool find_addresses(const char *address, struct addrinfo **found, struct error *err)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    size_t len = colon ? (size_t)(colon - address) : 0;
    bool bracketed = len >= 2 && address[0] == '[' && address[len - 1] == ']';
    if (len == 0 || len >= sizeof host)
        return error_set(err, ERROR_INVALID_ARGUMENT, "metrics address '%s' is not HOST:PORT", address);
    snprintf(host, sizeof host, "%.*s", (int)(bracketed ? len - 2 : len), address + bracketed);
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
    int failure = getaddrinfo(host, colon + 1, &hints, found);
    return failure == 0 || error_set(err, ERROR_INVALID_ARGUMENT, "metrics address '%s': %s", address, gai_strerror(failure));
}

static int port_of(int fd)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char port[8];
    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0 ||
        getnameinfo((struct sockaddr *)&bound, len, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0)
        return 0;
    return atoi(port);
}

static bool bind_address(const char *address, int *fd, struct error *err)
{
    struct addrinfo *found;
    int one = 1, made = -1, failure = 0;
    if (!find_addresses(address, &found, err))
        return false;
    for (const struct addrinfo *at = found; at && made < 0; at = at->ai_next) {
        made = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (made >= 0 && setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
            bind(made, at->ai_addr, at->ai_addrlen) == 0 && listen(made, BACKLOG) == 0)
            break;
        failure = errno;
        if (made >= 0)
            close(made);
        made = -1;
    }
    freeaddrinfo(found);
    if (made < 0)
        return error_set_errno(err, ERROR_UNAVAILABLE, failure, "cannot serve metrics on '%s'", address);
    *fd = made;
    return true;
}

__attribute__((format(printf, 2, 0))) static void ignore_message(void *ctx, const char *format, va_list arguments)
{
    (void)ctx;
    (void)format;
    (void)arguments;
}

bool metrics_server_start(const struct metrics_server_options *options, struct metrics_server **server, struct error *err)
{
    int fd;
    *server = NULL;
    if (!*options->address)
        return true;
    if (!bind_address(options->address, &fd, err))
        return false;
    struct metrics_server *made = mem_zalloc(sizeof *made);
    made->options = *options;
    made->port = port_of(fd);
    /* the logger comes first: it is for what the others have to say, and clients can make them say much */
    made->daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC, 0, NULL, NULL, on_request, made,
                         MHD_OPTION_EXTERNAL_LOGGER, ignore_message, NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_CONNECTION,
                         on_connection, made, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)MEMORY_A_CONNECTION, MHD_OPTION_END);
    if (!made->daemon) {
        close(fd);
        free(made);
        return error_set(err, ERROR_UNAVAILABLE, "cannot serve metrics on '%s'", options->address);
    }
    *server = made;
    return true;
}

int metrics_server_port(const struct metrics_server *server)
{
    return server->port;
}

void metrics_server_stop(struct metrics_server *server)
{
    if (!server)
        return;
    MHD_stop_daemon(server->daemon); /* closes the socket, too */
    free(server);
}
