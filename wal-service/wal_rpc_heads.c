/* GetHeads: named log branches, or all of them in pages. A page token is the last id of the page before. */
#include <inttypes.h>

#include "wal-service/branch_heads.h"
#include "wal-service/wal_rpc_internal.h"

enum { MAX_HEADS_ASKED = 10000, MAX_PAGE = 10000, DEFAULT_PAGE = 1000 };

static bool check_heads_request(const Argon__Wal__V1__GetHeadsRequest *request, struct error *err)
{
    if (!wal_rpc_check_id("project_id", request->project_id, MAX_PROJECT_ID_BYTES, false, err))
        return false;
    if (request->n_branch_ids > MAX_HEADS_ASKED)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%zu branch_ids, at most %d are allowed", request->n_branch_ids, MAX_HEADS_ASKED);
    for (size_t i = 0; i < request->n_branch_ids; i++)
        if (!wal_rpc_check_id("branch_id", request->branch_ids[i], MAX_BRANCH_ID_BYTES, false, err))
            return error_wrap(err, "branch %zu", i);
    if (request->n_branch_ids && (request->page_size || *request->page_token))
        return error_set(err, ERROR_INVALID_ARGUMENT, "page_size and page_token are not for named branches");
    if (request->page_size > MAX_PAGE)
        return error_set(err, ERROR_INVALID_ARGUMENT, "page_size is %" PRIu32 ", at most %d are allowed", request->page_size, MAX_PAGE);
    return wal_rpc_check_id("page_token", request->page_token, MAX_BRANCH_ID_BYTES, true, err);
}

static bool exhausted(struct error *err)
{
    return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for the call");
}

static bool name_heads(struct log_store *store, const Argon__Wal__V1__GetHeadsRequest *request, struct arena *arena,
                       Argon__Wal__V1__GetHeadsResponse *response, struct error *err)
{
    size_t n = request->n_branch_ids;
    struct bytes *ids = arena_alloc(arena, n * sizeof *ids);
    response->last_lsns = arena_alloc(arena, n * sizeof *response->last_lsns);
    if (!ids || !response->last_lsns)
        return exhausted(err);
    for (size_t i = 0; i < n; i++)
        ids[i] = bytes_of_string(request->branch_ids[i]);
    response->n_last_lsns = n;
    return branch_heads_of(store, bytes_of_string(request->project_id), ids, n, arena, response->last_lsns, &response->commit_lsn, err);
}

static bool page_heads(struct log_store *store, const Argon__Wal__V1__GetHeadsRequest *request, struct arena *arena,
                       Argon__Wal__V1__GetHeadsResponse *response, struct error *err)
{
    size_t max = request->page_size ? request->page_size : DEFAULT_PAGE;
    struct branch_page page;
    if (!branch_heads_page(store, bytes_of_string(request->project_id), bytes_of_string(request->page_token), max, arena, &page, err))
        return false;
    response->last_lsns = arena_alloc(arena, page.n * sizeof *response->last_lsns);
    response->branch_ids = arena_alloc(arena, page.n * sizeof *response->branch_ids);
    if (!response->last_lsns || !response->branch_ids)
        return exhausted(err);
    for (size_t i = 0; i < page.n; i++) {
        const struct log_branch *branch = &page.branches[i];
        response->last_lsns[i] = branch->last_lsn;
        response->branch_ids[i] = arena_strndup(arena, (const char *)branch->id.data, branch->id.len);
        if (!response->branch_ids[i])
            return exhausted(err);
    }
    response->n_last_lsns = response->n_branch_ids = page.n;
    response->commit_lsn = page.commit_lsn;
    if (page.more)
        response->next_page_token = response->branch_ids[page.n - 1];
    return true;
}

void wal_rpc_on_get_heads(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Wal__V1__GetHeadsRequest *request = (const Argon__Wal__V1__GetHeadsRequest *)message;
    struct wal_rpc *rpc = service;
    Argon__Wal__V1__GetHeadsResponse response = ARGON__WAL__V1__GET_HEADS_RESPONSE__INIT;
    struct error err;
    bool found = check_heads_request(request, &err) &&
                 (request->n_branch_ids ? name_heads : page_heads)(rpc->store, request, rpc_call_arena(call), &response, &err);
    if (found)
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
}
