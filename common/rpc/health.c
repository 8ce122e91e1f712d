/* grpc.health.v1: Check answers at once, Watch streams every change of one service's status.
 *
 * A watch may last for ever, so it occupies no worker: it is driven by the poller. At most one message of
 * it is in flight; changes that happen meanwhile collapse into the latest status.
 *
 *   watching: IDLE --status differs--> SENDING --sent--> IDLE ...   until the client goes or the server stops
 *
 * Threads    statuses change on any thread, under the lock, and poke the watches; all else of a watch
 *            belongs to the poller.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"
#include "grpc/health/v1/health.pb-c.h"

/* A watch is exempt from the limit on calls, so it has one of its own. */
enum { MAX_WATCHES = 1024 };

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;
#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

struct service_health {
    char *name;
    bool serving;
};

struct watch {
    struct rpc_call *call;
    struct health *health;
    char *service;
    struct watch *next, **link; /* under the health lock; link is NULL when it is not on the list */
    bool poke_pending;          /* under the health lock */
    serving_status last;        /* sent; from here on the poller's, and a word away from what is under the lock */
    bool sending;
    bool ended;
};

struct health {
    struct mutex lock; /* rank 910 */
    struct service_health *services;
    size_t n_services;
    struct watch *watches;
    size_t n_watches;
    bool draining;
    bool ending;
};

static struct service_health *find_locked(struct health *health, const char *service)
{
    for (size_t i = 0; i < health->n_services; i++) {
        if (strcmp(health->services[i].name, service) == 0)
            return &health->services[i];
    }
    return NULL;
}

static serving_status status_locked(struct health *health, const char *service)
{
    struct service_health *found = find_locked(health, service);
    if (!found)
        return STATUS(SERVICE_UNKNOWN);
    return found->serving && !health->draining ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

static void poke_all_locked(struct health *health)
{
    for (struct watch *watch = health->watches; watch; watch = watch->next) {
        if (watch->poke_pending)
            continue;
        watch->poke_pending = true;
        call_poke(watch->call); /* on the list, so its call has not ended */
    }
}

/* ---- the RPCs --------------------------------------------------------------------------------------- */

static void on_check(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct health *health = service;
    const Grpc__Health__V1__HealthCheckRequest *request = (const Grpc__Health__V1__HealthCheckRequest *)message;
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    mutex_lock(&health->lock);
    response.status = status_locked(health, request->service);
    mutex_unlock(&health->lock);
    if (response.status == STATUS(SERVICE_UNKNOWN)) {
        struct error err;
        error_set(&err, ERROR_NOT_FOUND, "there is no service '%s' here", request->service);
        rpc_fail(call, &err);
        return;
    }
    rpc_reply(call, &response.base);
}

static void unlink_watch(struct watch *watch)
{
    struct health *health = watch->health;
    mutex_lock(&health->lock);
    if (watch->link) {
        *watch->link = watch->next;
        if (watch->next)
            watch->next->link = watch->link;
        watch->link = NULL;
        health->n_watches--;
    }
    mutex_unlock(&health->lock);
}

static void end_watch(struct watch *watch, enum error_code code, const char *message)
{
    if (watch->ended)
        return;
    watch->ended = true;
    unlink_watch(watch);
    struct error err;
    error_set(&err, code, "%s", message);
    rpc_fail(watch->call, &err);
}

/* Sends what the client does not know yet; ends the watch when the server stops and all is said. */
static void advance(struct watch *watch)
{
    struct health *health = watch->health;
    if (watch->ended || watch->sending)
        return;
    mutex_lock(&health->lock);
    serving_status status = status_locked(health, watch->service);
    bool ending = health->ending;
    mutex_unlock(&health->lock);
    if (status == watch->last) {
        if (ending)
            end_watch(watch, ERROR_UNAVAILABLE, "the server stops");
        return;
    }
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status;
    struct error err;
    grpc_slice encoded;
    if (!codec_pack(&response.base, &encoded, &err)) {
        end_watch(watch, err.code, err.message);
        return;
    }
    watch->last = status;
    watch->sending = true;
    call_send_async_take(watch->call, encoded);
}

static void watch_poked(struct rpc_call *call)
{
    struct watch *watch = call->events_ctx;
    mutex_lock(&watch->health->lock);
    watch->poke_pending = false;
    mutex_unlock(&watch->health->lock);
    advance(watch);
}

static void watch_sent(struct rpc_call *call, bool ok)
{
    struct watch *watch = call->events_ctx;
    watch->sending = false;
    if (ok)
        advance(watch);
    else
        end_watch(watch, ERROR_CANCELLED, "the client is gone");
}

static void watch_closed(struct rpc_call *call)
{
    end_watch(call->events_ctx, ERROR_CANCELLED, "the client is gone");
}

static void watch_freed(void *ctx)
{
    struct watch *watch = ctx;
    free(watch->service);
    free(watch);
}

static void on_watch(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    static const struct call_events events = { .poked = watch_poked, .sent = watch_sent, .closed = watch_closed, .freed = watch_freed };
    struct health *health = service;
    const Grpc__Health__V1__HealthCheckRequest *request = (const Grpc__Health__V1__HealthCheckRequest *)message;
    struct watch *watch = mem_zalloc(sizeof *watch);
    watch->call = call;
    watch->health = health;
    watch->service = mem_strdup(request->service);
    watch->last = STATUS(UNKNOWN);
    call->events = &events;
    call->events_ctx = watch;

    mutex_lock(&health->lock);
    bool full = health->n_watches >= MAX_WATCHES;
    if (!full) {
        watch->next = health->watches;
        watch->link = &health->watches;
        if (watch->next)
            watch->next->link = &watch->next;
        health->watches = watch;
        health->n_watches++;
    }
    mutex_unlock(&health->lock);
    if (full)
        end_watch(watch, ERROR_RESOURCE_EXHAUSTED, "too many watches of this server's health");
    else
        advance(watch);
}

/* ---- the server's side ------------------------------------------------------------------------------ */

bool health_add_to(struct rpc_server *server, struct error *err)
{
    static const struct rpc_method methods[] = {
        RPC_UNARY_INLINE("Check", on_check),
        { "Watch", RPC_KIND_SERVER_STREAM, RPC_DISPATCH_INLINE, on_watch, false },
    };
    struct health *health = mem_zalloc(sizeof *health);
    mutex_init(&health->lock, RANK_RPC_HEALTH);
    server->health = health;
    health_set(health, "", true);
    return server_add_slots(server, &grpc__health__v1__health__descriptor, methods, ARRAY_LEN(methods), health, true, err);
}

void health_set(struct health *health, const char *service, bool serving)
{
    mutex_lock(&health->lock);
    struct service_health *found = find_locked(health, service);
    if (!found) {
        health->services = mem_realloc(health->services, (health->n_services + 1) * sizeof *health->services);
        found = &health->services[health->n_services++];
        found->name = mem_strdup(service);
    }
    found->serving = serving;
    poke_all_locked(health);
    mutex_unlock(&health->lock);
}

void health_set_all(struct health *health, bool serving)
{
    mutex_lock(&health->lock);
    for (size_t i = 0; i < health->n_services; i++)
        if (strcmp(health->services[i].name, grpc__health__v1__health__descriptor.name) != 0)
            health->services[i].serving = serving;
    poke_all_locked(health);
    mutex_unlock(&health->lock);
}

bool health_is_serving(struct health *health, const char *service)
{
    mutex_lock(&health->lock);
    serving_status status = status_locked(health, service);
    mutex_unlock(&health->lock);
    return status == STATUS(SERVING);
}

void health_drain(struct health *health)
{
    mutex_lock(&health->lock);
    health->draining = true;
    poke_all_locked(health);
    mutex_unlock(&health->lock);
}

void health_end_watches(struct health *health)
{
    mutex_lock(&health->lock);
    health->ending = true;
    poke_all_locked(health);
    mutex_unlock(&health->lock);
}

void health_free(struct health *health)
{
    if (!health)
        return;
    for (size_t i = 0; i < health->n_services; i++)
        free(health->services[i].name);
    free(health->services);
    mutex_destroy(&health->lock);
    free(health);
}
