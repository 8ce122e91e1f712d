#include "cli/command.h"

/* Of 1000, so that no more than a number is needed. */
static uint64_t hit_permille(uint64_t hits, uint64_t misses)
{
    uint64_t all = hits + misses;
    return all == 0 ? 0 : hits > UINT64_MAX / 1000 ? hits / (all / 1000) : hits * 1000 / all;
}

static bool status(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__GetStatusRequest request = ARGON__BRANCH__V1__GET_STATUS_REQUEST__INIT;
    request.project = (char *)cli->options->project;
    ProtobufCMessage *message;
    if (!connection_read(&cli->connection, BRANCH_METHOD("Admin", "GetStatus"), &request.base,
                         &argon__branch__v1__get_status_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__GetStatusResponse *s = (const void *)message;
    const struct field branch_fields[] = {
        FIELD_STRING("endpoint", cli->options->endpoint),
        FIELD_STRING("version", s->version),
        FIELD_U64("uptime_seconds", s->uptime_seconds),
        FIELD_U64("projects_open", s->projects_open),
        FIELD_U64("projects_followed", s->projects_followed),
        FIELD_U64("views", s->views),
        FIELD_U64("views_building", s->views_building),
        FIELD_U64("view_hits", s->view_hits),
        FIELD_U64("view_misses", s->view_misses),
        FIELD_U64("view_hits_permille", hit_permille(s->view_hits, s->view_misses)),
        FIELD_U64("memory_used_bytes", s->memory_used_bytes),
        FIELD_U64("memory_budget_bytes", s->memory_budget_bytes),
        FIELD_STRING("wal_endpoint", s->wal_endpoint),
        FIELD_BOOL("wal_reachable", s->wal_reachable),
    };
    /* known only while it is reachable */
    const struct field wal_fields[] = {
        FIELD_OPTIONAL("wal_version", s->wal_version),
        FIELD_U64("wal_uptime_seconds", s->wal_uptime_seconds),
        FIELD_OPTIONAL("wal_data_directory", s->wal_data_directory),
        FIELD_U64("wal_disk_bytes", s->wal_disk_bytes),
        FIELD_BOOL("wal_disk_full", s->wal_disk_full),
        FIELD_U64("wal_segments", s->wal_segments),
        FIELD_U64("wal_sealed_segments", s->wal_sealed_segments),
        FIELD_U64("wal_compressed_segments", s->wal_compressed_segments),
        FIELD_U64("wal_entries", s->wal_entries),
        FIELD_U64("wal_memory_bytes", s->wal_memory_bytes),
        FIELD_U64("wal_follow_streams", s->wal_follow_streams),
    };
    const struct field mongodb_fields[] = {
        FIELD_STRING("mongodb_endpoint", s->mongodb_endpoint),
        FIELD_BOOL("mongodb_reachable", s->mongodb_reachable),
        s->mongodb_reachable ? FIELD_STRING("mongodb_version", s->mongodb_version) : FIELD_STRING("mongodb_error", s->mongodb_error),
    };
    const struct field project_fields[] = {
        FIELD_STRING("project", cli->options->project),
        FIELD_U64("commit_lsn", s->commit_lsn),
        FIELD_U64("replica_lsn", s->replica_lsn),
    };
    struct field fields[ARRAY_LEN(branch_fields) + ARRAY_LEN(wal_fields) + ARRAY_LEN(mongodb_fields) + ARRAY_LEN(project_fields)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(branch_fields); i++)
        fields[n++] = branch_fields[i];
    for (size_t i = 0; s->wal_reachable && i < ARRAY_LEN(wal_fields); i++)
        fields[n++] = wal_fields[i];
    for (size_t i = 0; s->mongodb_configured && i < ARRAY_LEN(mongodb_fields); i++)
        fields[n++] = mongodb_fields[i];
    for (size_t i = 0; s->wal_reachable && cli->options->project[0] && i < ARRAY_LEN(project_fields); i++)
        fields[n++] = project_fields[i];
    output_object(&cli->out, fields, n);
    if (!s->wal_reachable)
        return error_set(err, ERROR_UNAVAILABLE, "the branch service does not reach its WAL service, %s", s->wal_endpoint);
    return true;
}

static const struct command commands[] = {
    { NULL, "[-p PROJECT]", "Show the state of the branch service, of the WAL service behind it and, with -p, of a project's log",
      "argon status --endpoint 127.0.0.1:7800 -p shop -o json", 0, 0, status, NULL, 0, NULL },
};

const struct command_group status_group = { "status", "Show the state of the services", commands, ARRAY_LEN(commands), GROUP_REMOTE };
