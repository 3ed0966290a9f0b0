/* What people read: tables from the daemon's JSON. The JSON carries more than these show; --json prints it whole. */
#include "ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *str(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "-";
}

static json_int_t num(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* Where it is now, else where it is expected. */
static const char *peer(const json_t *tunnel)
{
    return str(tunnel, json_is_string(json_object_get(tunnel, "peer")) ? "peer" : "customer_endpoint");
}

struct cell {
    char text[64];
};

static struct cell number(json_int_t v)
{
    struct cell c;
    snprintf(c.text, sizeof c.text, "%" JSON_INTEGER_FORMAT, v);
    return c;
}

static struct cell bytes(json_int_t v)
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double x = (double)v;
    size_t u = 0;
    for (; x >= 1000 && u + 1 < sizeof unit / sizeof *unit; u++)
        x /= 1000;
    struct cell c;
    snprintf(c.text, sizeof c.text, u && x < 100 ? "%.1f %s" : "%.0f %s", x, unit[u]);
    return c;
}

static struct cell age(json_int_t s)
{
    struct cell c;
    if (s < 0)
        snprintf(c.text, sizeof c.text, "never");
    else if (s < 120)
        snprintf(c.text, sizeof c.text, "%ds", (int)s);
    else if (s < 7200)
        snprintf(c.text, sizeof c.text, "%dm%02ds", (int)(s / 60), (int)(s % 60));
    else if (s < 172800)
        snprintf(c.text, sizeof c.text, "%dh%02dm", (int)(s / 3600), (int)(s / 60 % 60));
    else
        snprintf(c.text, sizeof c.text, "%dd%02dh", (int)(s / 86400), (int)(s / 3600 % 24));
    return c;
}

static json_int_t drops_sum(const json_t *object)
{
    json_int_t sum = 0;
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(object, "drops"), key, value) sum += json_integer_value(value);
    return sum;
}

static void print_counts(const char *title, const json_t *counts)
{
    const char *key;
    json_t *value;
    bool any = false;
    json_object_foreach((json_t *)counts, key, value)
    {
        if (!json_integer_value(value))
            continue;
        if (!any)
            printf("%s\n", title);
        any = true;
        printf("  %-24s %" JSON_INTEGER_FORMAT "\n", key, json_integer_value(value));
    }
}

static void worker_row(struct table *t, const char *name, const json_t *w)
{
    table_row(t, name, number(num(w, "from_network")).text, number(num(w, "from_devices")).text,
              number(num(w, "handed_on")).text, number(num(w, "taken_over")).text, number(num(w, "handoff_full")).text,
              number(num(w, "cpu_ms")).text);
}

static void print_workers(const json_t *r)
{
    static const char *const headings[] = {"WORKER",     "FROM NETWORK", "FROM DEVICES", "HANDED ON",
                                           "TAKEN OVER", "RING FULL",    "CPU MS"};
    const json_t *workers = json_object_get(r, "workers");
    size_t i;
    json_t *e;
    if (json_array_size(workers) == 0)
        return;
    struct table *t = table_new(headings, 7, "lrrrrrr");
    json_array_foreach(workers, i, e) worker_row(t, number((json_int_t)i).text, e);
    worker_row(t, "control", json_object_get(r, "control_thread"));
    table_print_free(t, "");
}

void view_status(const json_t *r)
{
    const json_t *tunnels = json_object_get(r, "tunnels"), *lib = json_object_get(r, "libraries");
    size_t i;
    json_t *e;
    printf("adit %s on %s, up %s\n", str(r, "version"), str(r, "node"), age(num(r, "uptime_s")).text);
    printf("endpoints    ");
    json_array_foreach(json_object_get(r, "endpoints"), i, e) printf("%s%s", i ? ", " : "", json_string_value(e));
    printf("\ntunnels      %d configured, %d up (%d GRE, %d IPsec)\n", (int)num(tunnels, "configured"),
           (int)num(tunnels, "up"), (int)num(tunnels, "gre"), (int)num(tunnels, "ipsec"));
    printf("IKE SAs      %d established, %d half open; %d Child SAs\n", (int)num(r, "ike_sas"),
           (int)num(r, "half_open"), (int)num(r, "child_sas"));
    printf("traffic      in %" JSON_INTEGER_FORMAT " packets, %s; out %" JSON_INTEGER_FORMAT " packets, %s\n",
           num(r, "packets_in"), bytes(num(r, "bytes_in")).text, num(r, "packets_out"),
           bytes(num(r, "bytes_out")).text);
    printf("libraries    %s, ML-KEM %s; ESP by %s\n", str(lib, "openssl"), flag(lib, "ml_kem") ? "yes" : "NO",
           str(lib, "esp"));
    json_array_foreach(json_object_get(r, "warnings"), i, e) printf("warning      %s\n", json_string_value(e));
    print_counts("drops by reason", json_object_get(r, "drops"));
    print_counts("IKE", json_object_get(r, "ike"));
    print_counts("sockets", json_object_get(r, "sockets"));
    print_counts("devices", json_object_get(r, "devices"));
    print_workers(r);
}

void view_tunnels(const json_t *r)
{
    static const char *const headings[] = {"ACCOUNT", "TUNNEL",  "TYPE",     "STATE", "PEER",   "SUITE",
                                           "MTU",     "PKTS IN", "PKTS OUT", "DROPS", "LAST IN"};
    struct table *t = table_new(headings, 11, "llllllrrrrr");
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(r, "tunnels"), i, e)
        table_row(t, str(e, "account"), str(e, "name"), str(e, "type"), str(e, "state"), peer(e), str(e, "suite"),
                  number(num(e, "mtu")).text, number(num(e, "packets_in")).text, number(num(e, "packets_out")).text,
                  number(drops_sum(e)).text, age(num(e, "last_in_s")).text);
    table_print_free(t, "no tunnel is configured");
}

void view_tunnel_details(const json_t *r)
{
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(r, "tunnels"), i, e)
    {
        const json_t *failure = json_object_get(e, "last_failure");
        printf("%s/%s  %s  %s\n", str(e, "account"), str(e, "name"), str(e, "type"), str(e, "state"));
        printf("  endpoint     %s\n  peer         %s\n", str(e, "endpoint"), peer(e));
        printf("  suite        %s%s\n", str(e, "suite"), flag(e, "post_quantum") ? " (post-quantum)" : "");
        printf("  inner MTU    %d, MSS %d (IPv4) %d (IPv6)\n", (int)num(e, "mtu"), (int)num(e, "mss4"),
               (int)num(e, "mss6"));
        printf("  in           %" JSON_INTEGER_FORMAT " packets, %s, last %s\n", num(e, "packets_in"),
               bytes(num(e, "bytes_in")).text, age(num(e, "last_in_s")).text);
        printf("  out          %" JSON_INTEGER_FORMAT " packets, %s\n", num(e, "packets_out"),
               bytes(num(e, "bytes_out")).text);
        if (json_is_object(failure))
            printf("  last failure %s ago: %s\n", age(num(failure, "age_s")).text, str(failure, "text"));
        print_counts("  drops by reason", json_object_get(e, "drops"));
    }
}

void view_sas(const json_t *r)
{
    static const char *const headings[] = {"TUNNEL",    "SPI IN", "SPI OUT", "SUITE",    "PEER",   "LOCAL TS",
                                           "REMOTE TS", "AGE",    "PKTS IN", "PKTS OUT", "SENDING"};
    static const char *const ike_headings[] = {"TUNNEL", "STATE", "SPIS", "SUITE", "PEER", "NAT", "AGE", "CHILDREN"};
    struct table *ike = table_new(ike_headings, 8, "llllllrr"), *esp = table_new(headings, 11, "lllllllrrrl");
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(r, "ike_sas"), i, e)
    {
        struct cell spis;
        snprintf(spis.text, sizeof spis.text, "%s_i %s_r", str(e, "spi_i"), str(e, "spi_r"));
        table_row(ike, str(e, "tunnel"), str(e, "state"), spis.text, str(e, "suite"), str(e, "remote"),
                  flag(e, "nat") ? "yes" : "no", age(num(e, "age_s")).text, number(num(e, "children")).text);
    }
    json_array_foreach(json_object_get(r, "sas"), i, e)
        table_row(esp, str(e, "tunnel"), str(e, "spi_in"), str(e, "spi_out"), str(e, "suite"), str(e, "remote"),
                  str(e, "local_ts"), str(e, "remote_ts"), age(num(e, "age_s")).text, number(num(e, "packets_in")).text,
                  number(num(e, "packets_out")).text, flag(e, "sending") ? "yes" : "no");
    table_print_free(ike, "no IKE SA");
    printf("\n");
    table_print_free(esp, "no Child SA");
}

void view_message(const json_t *r)
{
    printf("%s\n", str(r, "message"));
}
