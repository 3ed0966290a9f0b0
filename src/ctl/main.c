/* aditctl: asks a running aditd over its control socket. */
#include "ctl.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SOCKET "/run/adit/control.sock"

static const char usage_text[] =
    "usage: aditctl [--socket PATH] [--json] COMMAND\n"
    "\n"
    "  status              the daemon: version, libraries, totals, drops by reason, workers, warnings\n"
    "  tunnels [NAME]      all tunnels as a table, or one (NAME or ACCOUNT/NAME) in detail\n"
    "  sas [NAME]          IKE SAs and Child SAs: suite, SPIs, selectors, counters\n"
    "  reset NAME          delete the tunnel's SAs; the peer may come up again at once\n"
    "  reload              read the configuration again; an error changes nothing\n"
    "  shutdown --delete   tell every peer (Delete), remove routes and TUNs, stop\n"
    "\n"
    "  --json              print the daemon's answer as JSON\n"
    "  --socket PATH       control socket (default " DEFAULT_SOCKET ")\n";

enum argument { ARG_NONE, ARG_OPTIONAL, ARG_REQUIRED };
static const struct command {
    const char *name;
    enum argument argument;
    void (*view)(const json_t *result);
    void (*view_one)(const json_t *result); /* when an argument was given */
} commands[] = {
    {"status", ARG_NONE, view_status, view_status},   {"tunnels", ARG_OPTIONAL, view_tunnels, view_tunnel_details},
    {"sas", ARG_OPTIONAL, view_sas, view_sas},        {"reset", ARG_REQUIRED, view_message, view_message},
    {"reload", ARG_NONE, view_message, view_message}, {"shutdown", ARG_NONE, view_message, view_message},
};

static int usage(const char *what, const char *detail)
{
    fprintf(stderr, "aditctl: %s%s\n\n%s", what, detail, usage_text);
    return 2;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int run(const char *socket_path, const struct command *cmd, const char *argument, bool delete_peers,
               bool as_json)
{
    json_t *request = json_pack("{s:s, s:s*, s:b}", "cmd", cmd->name, "tunnel", argument, "delete", delete_peers);
    json_t *result = request ? ctl_call(socket_path, request) : NULL;
    json_decref(request);
    if (!result)
        return 1;
    if (as_json) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        printf("\n");
    } else
        (argument ? cmd->view_one : cmd->view)(result);
    json_decref(result);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'},
                                            {"delete", no_argument, NULL, 'd'},       {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},      {NULL, 0, NULL, 0}};
    const char *socket_path = DEFAULT_SOCKET;
    bool as_json = false, delete_peers = false;
    for (int o; (o = getopt_long(argc, argv, "s:jhv", options, NULL)) != -1;) {
        switch (o) {
        case 's': socket_path = optarg; break;
        case 'j': as_json = true; break;
        case 'd': delete_peers = true; break;
        case 'h': printf("%s", usage_text); return 0;
        case 'v': printf("aditctl %s\n", ADIT_VERSION); return 0;
        default: return usage("unknown option", "");
        }
    }
    if (optind == argc)
        return usage("no command", "");
    const struct command *cmd = find_command(argv[optind]);
    if (!cmd)
        return usage("unknown command ", argv[optind]);
    const char *argument = argv[optind + 1]; /* NULL at the end */
    if (argument && (cmd->argument == ARG_NONE || optind + 2 < argc))
        return usage("too many arguments for ", cmd->name);
    if (!argument && cmd->argument == ARG_REQUIRED)
        return usage("which tunnel? ", cmd->name);
    if (strcmp(cmd->name, "shutdown") == 0 && !delete_peers)
        return usage("shutdown ends every tunnel: say shutdown --delete", "");
    return run(socket_path, cmd, argument, delete_peers, as_json);
}
