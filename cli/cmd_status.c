#include "cli/command.h"

static bool status(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__GetStatusRequest request = ARGON__BRANCH__V1__GET_STATUS_REQUEST__INIT;
    ProtobufCMessage *message;
    if (!connection_read(&cli->connection, BRANCH_METHOD("Admin", "GetStatus"), &request.base,
                         &argon__branch__v1__get_status_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__GetStatusResponse *s = (const void *)message;
    const struct field fields[] = {
        FIELD_STRING("endpoint", cli->options->endpoint),
        FIELD_STRING("version", s->version),
        FIELD_U64("uptime_seconds", s->uptime_seconds),
        FIELD_U64("projects_open", s->projects_open),
        FIELD_U64("views", s->views),
        FIELD_U64("memory_used_bytes", s->memory_used_bytes),
        FIELD_U64("memory_budget_bytes", s->memory_budget_bytes),
        FIELD_STRING("wal_endpoint", s->wal_endpoint),
        FIELD_BOOL("wal_reachable", s->wal_reachable),
        /* known only while it is reachable */
        FIELD_OPTIONAL("wal_version", s->wal_version),
        FIELD_U64("wal_uptime_seconds", s->wal_uptime_seconds),
        FIELD_OPTIONAL("wal_data_directory", s->wal_data_directory),
        FIELD_U64("wal_disk_bytes", s->wal_disk_bytes),
        FIELD_U64("wal_segments", s->wal_segments),
    };
    output_object(&cli->out, fields, s->wal_reachable ? ARRAY_LEN(fields) : ARRAY_LEN(fields) - 5);
    return true;
}

static const struct command commands[] = {
    { NULL, "", "Show the state of the branch service and of the WAL service behind it", "argon status --endpoint 127.0.0.1:7800", 0, 0,
      status, NULL, 0, NULL },
};

const struct command_group status_group = { "status", "Show the state of the services", commands, ARRAY_LEN(commands), GROUP_REMOTE };
