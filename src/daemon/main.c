/* aditd: options, and what can be said without running. */
#include "daemon.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_CONFIG "/etc/adit/adit.yaml"

static const char usage_text[] =
    "usage: aditd [--config FILE] [--check | --dump]\n"
    "       aditd --version\n"
    "\n"
    "  --config FILE  the configuration (default " DEFAULT_CONFIG ")\n"
    "  --check        print every error and what is not active yet, and stop: exit 1 if there is an error\n"
    "  --dump         print the effective configuration, defaults included, secrets left out\n"
    "  --version      version, libraries, features\n"
    "\n"
    "Runs in the foreground. SIGHUP reads the configuration again, SIGTERM tells every peer and stops.\n";

static int print_version(void)
{
    struct crypto *crypto;
    struct crypto_versions v;
    printf("aditd %s\n", ADIT_VERSION);
    if (crypto_new(NULL, &crypto) != RC_OK) {
        fprintf(stderr, "aditd: the cryptographic library does not start\n");
        return 1;
    }
    crypto_versions(crypto, &v);
    printf("OpenSSL:   %s\n", v.openssl);
    printf("ML-KEM:    %s\n", v.ml_kem ? "yes (768, 1024)" : "NO: OpenSSL 3.5 or newer is needed");
    printf("ipsec-mb:  %s\n", v.ipsec_mb ? v.ipsec_mb : "not built in");
    printf("ESP GCM:   %s\n", v.esp_gcm);
    printf("ESP HMAC:  %s\n", v.esp_hmac);
    printf("libsodium: %s\n", v.sodium);
    printf(
        "features:  gre ikev2-responder esp nat-t rfc7383-fragmentation rfc9242-intermediate rfc9370-hybrid netns systemd "
        "seccomp\n");
    bool ml_kem = v.ml_kem;
    crypto_free(crypto);
    return ml_kem ? 0 : 1;
}

static void print_report(const struct config_report *report, const char *path)
{
    char line[1024];
    for (size_t i = 0; config_report_line(report, path, i, line, sizeof line) == RC_OK; i++)
        fprintf(stderr, "%s\n", line);
}

/* NULL with everything that is wrong on stderr; notes and warnings of a good file only when asked for. */
static struct config *load(const char *path, bool notes)
{
    struct config_reader reader = {.read = io_file_read};
    struct config_report report = {0};
    struct config *config = NULL;
    enum rc rc = config_load(&reader, path, &report, &config);
    if (rc != RC_OK || notes)
        print_report(&report, path);
    if (rc != RC_OK && report.n == 0)
        fprintf(stderr, "aditd: %s: %s\n", path, rc_name(rc));
    config_report_free(&report);
    return rc == RC_OK ? config : NULL;
}

static int check(const char *path)
{
    struct config *c = load(path, true);
    if (!c)
        return 1;
    printf("%s: good: %zu accounts, %zu tunnels, %zu routes\n", path, c->accounts.n, c->n_tunnels, c->n_routes);
    config_free(c);
    return 0;
}

static int dump(const char *path)
{
    struct config *c = load(path, false);
    struct buf text = {0};
    if (!c)
        return 1;
    bool ok = config_dump(c, &text) == RC_OK && fwrite(text.p, 1, text.n, stdout) == text.n;
    buf_free(&text);
    config_free(c);
    return ok ? 0 : 1;
}

static int run(const char *path)
{
    struct io_error e = {"out of memory"};
    struct io_helper *helper = NULL;
    struct config *config = NULL;
    struct daemon *d = NULL;
    io_signals_block();
    io_privileges_harden();
    enum rc rc = io_helper_start(&helper, &e); /* before there is a secret in our memory */
    if (rc == RC_OK && !(config = load(path, false))) {
        io_helper_stop(helper);
        return 1;
    }
    if (rc == RC_OK && !(d = daemon_new(path, config, helper))) {
        io_helper_stop(helper);
        config_free(config);
        rc = RC_NOMEM;
    }
    if (rc == RC_OK)
        rc = daemon_start(d, &e);
    if (rc == RC_OK)
        rc = daemon_run(d, &e);
    if (rc != RC_OK)
        fprintf(stderr, "aditd: %s\n", e.text);
    daemon_free(d);
    return rc == RC_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'}, {"dump", no_argument, NULL, 'd'},
        {"version", no_argument, NULL, 'v'},      {"help", no_argument, NULL, 'h'},  {NULL, 0, NULL, 0}};
    const char *path = DEFAULT_CONFIG;
    int (*action)(const char *path) = run;
    for (int o; (o = getopt_long(argc, argv, "c:hv", options, NULL)) != -1;) {
        switch (o) {
        case 'c': path = optarg; break;
        case 'k': action = check; break;
        case 'd': action = dump; break;
        case 'v': return print_version();
        case 'h': printf("%s", usage_text); return 0;
        default: fprintf(stderr, "%s", usage_text); return 2;
        }
    }
    if (optind != argc) {
        fprintf(stderr, "aditd: what is %s?\n\n%s", argv[optind], usage_text);
        return 2;
    }
    return action(path);
}
