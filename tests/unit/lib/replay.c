/* See replay.h: packets to messages, and what is compared of every message. */
#include "replay_state.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>

#include "ike/seal.h"

/* ---- checks */

bool check(struct replay *r, bool ok, const char *format, ...)
{
    *(ok ? &r->ret->passed : &r->ret->failed) += 1;
    if (r->tap) {
        va_list args;
        fprintf(r->tap, "%s %zu - %s: ", ok ? "ok" : "not ok", r->ret->passed + r->ret->failed, r->name);
        va_start(args, format);
        vfprintf(r->tap, format, args);
        va_end(args);
        fputc('\n', r->tap);
    }
    return ok;
}

static void print_hex(FILE *f, const char *what, struct span s)
{
    fprintf(f, "# %s %zu:", what, s.n);
    for (size_t i = 0; i < s.n && i < 64; i++)
        fprintf(f, "%s%02x", i % 16 ? "" : " ", s.p[i]);
    fputs(s.n > 64 ? " ..\n" : "\n", f);
}

bool check_event(struct replay *r, const char *label, struct span got, const char *what)
{
    struct span want;
    if (!events_take(&r->events, label, &want))
        return check(r, false, "%s: %s: the log has no further one", what, label);
    bool ok = check(r, span_equal(got, want), "%s: %s", what, label);
    if (!ok && r->tap) {
        print_hex(r->tap, "got ", got);
        print_hex(r->tap, "want", want);
    }
    return ok;
}

/* ---- small decoders */

struct span body_of(const struct ike_chain *c, uint8_t type)
{
    const struct ike_payload *p = ike_chain_find(c, type);
    return p ? p->body : span_of(NULL, 0);
}

bool ke_of(const struct ike_chain *c, struct ike_ke *ret)
{
    const struct ike_payload *p = ike_chain_find(c, PAYLOAD_KE);
    return p && ike_ke_read(p->body, ret) == RC_OK;
}

bool offer_read(struct span sa_body, uint8_t num, struct offer *ret)
{
    struct ike_error e;
    struct ike_proposal p;
    struct ike_transform t;
    struct rd sa = rd_of(sa_body);
    if (!sa_body.p || ike_sa_check(sa_body, &e) != RC_OK)
        return false;
    while (ike_proposal_next(&sa, &p)) {
        if (num && p.num != num)
            continue;
        struct offer s = {.num = p.num, .protocol = p.protocol, .spi = p.spi};
        while (ike_transform_next(&p.transforms, &t)) {
            if (t.type == T_ENCR && !s.encr)
                s.encr = t.id, s.bits = t.key_bits;
            else if (t.type == T_PRF && !s.prf)
                s.prf = t.id;
            else if (t.type == T_INTEG && !s.integ)
                s.integ = t.id;
            else if (t.type == T_KE && !s.ke)
                s.ke = t.id;
            else if (t.type >= T_ADDKE1 && t.type <= T_ADDKE7 && t.id != KE_NONE && s.n_addke < ADDKE_MAX)
                s.addke[s.n_addke++] = t.id;
        }
        *ret = s;
        return true;
    }
    return false;
}

/* Chains borrow from the text: a copied message is walked again. */
void inner_keep(struct inner *copy, const struct inner *m)
{
    struct ike_error e;
    *copy = *m;
    if (ike_chain_read(copy->first, span_of(copy->text, copy->n), &copy->chain, &e) != RC_OK)
        abort();
}

static void check_payloads(struct replay *r, const struct ike_header *h, const struct ike_chain *chain)
{
    bool response = h->flags & IKE_FLAG_RESPONSE;
    const char *names = events_message(&r->events, h->exchange, response, h->mid);
    check(r, names && events_payloads_match(names, chain), "%s %s %u: payloads [ %.*s", ike_exchange_name(h->exchange),
          response ? "response" : "request", h->mid, names ? (int)strcspn(names, "]") + 1 : 20,
          names ? names : "not in the log ]");
}

/* ---- messages */

static void init_message(struct replay *r, struct span datagram, const struct ike_header *h)
{
    struct ike_chain chain, request_chain;
    struct ike_error e = {.what = "none"};
    struct ike_header request;
    bool response = h->flags & IKE_FLAG_RESPONSE;
    struct span body = span_of(datagram.p + IKE_HEADER_SIZE, datagram.n - IKE_HEADER_SIZE);
    enum rc rc = ike_chain_read(h->next, body, &chain, &e);
    if (rc == RC_OK)
        rc = ike_shape_check(h->exchange, response, false, &chain, &e);
    if (!check(r, rc == RC_OK, "IKE_SA_INIT %s: well-formed (%s)", response ? "response" : "request", e.what))
        return;
    check_payloads(r, h, &chain);
    if (!response) {
        if (buf_set(&r->init_request, datagram) != RC_OK)
            abort();
        return;
    }
    if (!ike_chain_find(&chain, PAYLOAD_SA)) /* INVALID_KE_PAYLOAD, NO_PROPOSAL_CHOSEN, COOKIE: no SA comes of it */
        return;
    struct span last = buf_span(&r->init_request);
    if (check(r,
              last.n && ike_header_read(last, &request) == RC_OK && request.spi_i == h->spi_i &&
                  ike_chain_read(request.next, span_of(last.p + IKE_HEADER_SIZE, last.n - IKE_HEADER_SIZE),
                                 &request_chain, &e) == RC_OK,
              "IKE_SA_INIT response: its request was seen"))
        sa_begin(r, last, datagram, &request_chain, &chain);
}

static void message(struct replay *r, struct sa *sa, struct inner *m)
{
    struct ike_error e = {.what = "none"};
    bool response = m->h.flags & IKE_FLAG_RESPONSE, from_initiator = m->h.flags & IKE_FLAG_INITIATOR;
    enum rc rc = ike_chain_read(m->first, span_of(m->text, m->n), &m->chain, &e);
    if (rc == RC_OK)
        rc = ike_shape_check(m->h.exchange, response, true, &m->chain, &e);
    if (!check(r, rc == RC_OK, "%s %s %u: well-formed (%s)", ike_exchange_name(m->h.exchange),
               response ? "response" : "request", m->h.mid, e.what))
        return;
    check_payloads(r, &m->h, &m->chain);
    struct exchange *x = &sa->child[response != from_initiator];
    switch (m->h.exchange) {
    case IKE_INTERMEDIATE: sa_intermediate(r, sa, m, response); break;
    case IKE_AUTH:
        sa_auth(r, sa, m, response);
        if (response)
            child_first(r, sa, m);
        break;
    case CREATE_CHILD_SA:
        if (response)
            child_response(r, sa, x, m);
        else
            child_request(r, x, m);
        break;
    case IKE_FOLLOWUP_KE:
        if (response)
            followup_response(r, sa, x, m);
        else
            followup_request(r, x, m);
        break;
    default: break;
    }
}

/* RFC 7383 2.6: fragments in any order; the first one tells the inner payloads' first type. */
static bool assemble(struct replay *r, struct parts *p, const struct ike_header *h, const struct ike_skf *f,
                     struct span text, struct inner *m)
{
    if (p->mid != h->mid || p->total != f->total) {
        for (size_t i = 0; i < PARTS_MAX; i++)
            buf_free(&p->text[i]);
        p->mid = h->mid, p->total = f->total, p->got = 0;
    }
    if (!check(r, f->total <= PARTS_MAX && !p->text[f->number - 1].p && buf_set(&p->text[f->number - 1], text) == RC_OK,
               "fragment %u of %u", f->number, f->total))
        return false;
    if (f->number == 1)
        p->first = m->first, p->reserved = m->reserved;
    if (++p->got < p->total)
        return false;
    struct wr w = wr_of(m->text, sizeof m->text);
    for (size_t i = 0; i < p->total; i++)
        wr_bytes(&w, buf_span(&p->text[i]));
    m->first = p->first;
    m->reserved = p->reserved;
    m->n = wr_len(&w);
    p->total = 0;
    return check(r, !w.failed, "%u fragments put together", p->got);
}

static void sealed_message(struct replay *r, uint8_t *msg, size_t n, const struct ike_header *h)
{
    struct ike_chain outer;
    struct ike_error e = {.what = "none"};
    struct ike_skf f;
    struct span text;
    bool from_initiator = h->flags & IKE_FLAG_INITIATOR, response = h->flags & IKE_FLAG_RESPONSE;
    const char *exchange = ike_exchange_name(h->exchange), *kind = response ? "response" : "request";
    struct sa *sa = NULL;
    for (size_t i = 0; i < r->n_sas; i++)
        if (r->sas[i]->spi_i == h->spi_i && r->sas[i]->spi_r == h->spi_r)
            sa = r->sas[i];
    if (!check(r, sa != NULL, "%s %s %u: its IKE SA is known", exchange, kind, h->mid))
        return;
    enum rc rc = ike_chain_read(h->next, span_of(msg + IKE_HEADER_SIZE, n - IKE_HEADER_SIZE), &outer, &e);
    if (rc == RC_OK)
        rc = ike_shape_check(h->exchange, response, false, &outer, &e);
    const struct ike_payload *p = rc == RC_OK ? &outer.v[outer.n - 1] : NULL;
    bool skf = p && p->type == PAYLOAD_SKF;
    if (!check(r, p && (!skf || ike_skf_read(p->body, &f) == RC_OK), "%s %s %u: Encrypted payload (%s)", exchange, kind,
               h->mid, e.what))
        return;
    const struct ike_keys *k = &sa->keys;
    size_t aad = IKE_HEADER_SIZE + p->offset + (skf ? 8 : 4);
    uint8_t reserved = msg[IKE_HEADER_SIZE + p->offset + 1];
    rc = ike_open(r->c, sa->alg, from_initiator ? k->ei : k->er, from_initiator ? k->ai : k->ar, msg, n, aad, &text);
    if (!check(r, rc == RC_OK, "%s %s %u: decrypts: %s", exchange, kind, h->mid, rc_name(rc)))
        return;
    r->ret->ike_packets++;
    struct inner *m = calloc(1, sizeof *m);
    if (!m)
        abort();
    m->h = *h;
    m->first = outer.sk_next;
    m->reserved = reserved;
    if (skf) {
        if (assemble(r, &sa->parts[from_initiator], h, &f, text, m))
            message(r, sa, m);
    } else {
        memcpy(m->text, text.p, text.n);
        m->n = text.n;
        message(r, sa, m);
    }
    free(m);
}

static bool retransmitted(struct replay *r, struct span datagram)
{
    uint8_t h[32];
    crypto_sha256(r->c, &datagram, 1, h);
    for (size_t i = 0; i < r->n_seen; i++)
        if (memcmp(r->seen[i], h, 32) == 0)
            return true;
    if (r->n_seen < ARRAY_LEN(r->seen))
        memcpy(r->seen[r->n_seen++], h, 32);
    return false;
}

static void ike_datagram(struct replay *r, struct span datagram)
{
    uint8_t copy[INNER_MAX];
    struct ike_header h;
    if (retransmitted(r, datagram) || datagram.n > sizeof copy)
        return;
    if (!check(r, ike_header_read(datagram, &h) == RC_OK && h.length == datagram.n && h.version == IKE_VERSION,
               "an IKE header that fits its datagram"))
        return;
    memcpy(copy, datagram.p, datagram.n);
    if (h.exchange == IKE_SA_INIT)
        init_message(r, span_of(copy, datagram.n), &h);
    else
        sealed_message(r, copy, datagram.n, &h);
}

static void packet(struct replay *r, const struct pcap_packet *p)
{
    const struct endpoint *a = &p->path.local, *b = &p->path.remote;
    if (p->protocol == 50) {
        esp_packet(r, p->payload);
    } else if (p->protocol == 17 && (a->port == 500 || b->port == 500)) {
        ike_datagram(r, p->payload);
    } else if (p->protocol == 17 && (a->port == 4500 || b->port == 4500)) {
        struct rd marker = rd_of(p->payload);
        if (p->payload.n == 1) /* NAT keepalive, RFC 3948 2.3 */
            return;
        if (rd_u32(&marker) == 0)
            ike_datagram(r, rd_rest(&marker));
        else
            esp_packet(r, p->payload);
    }
}

/* ---- a scenario */

/* RFC 7296 2.23: the log holds each NAT detection input and its SHA-1. */
static void check_nat_detection(struct replay *r)
{
    struct span chunk;
    while (events_take(&r->events, "natd_chunk", &chunk)) {
        uint8_t hash[20];
        crypto_sha1(r->c, &chunk, 1, hash);
        check_event(r, "natd_hash", span_of(hash, sizeof hash), "NAT detection");
    }
}

/* What was logged and never asked for has not been verified. */
static void check_nothing_left(struct replay *r)
{
    static const char *const labels[] = {"MSG ",          "SKEYSEED",  "Sk_",
                                         "IntAuth_",      "SK_p",      "IDx'",
                                         "octets",        "secret",    "prf(secret,",
                                         "AUTH =",        "seed",      "nonces",
                                         "encryption",    "integrity", "key exchange secret",
                                         "additional key"};
    for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
        const char *left = events_left(&r->events, labels[i]);
        check(r, !left, "all \"%s\" events compared%s%s", labels[i], left ? ", but not: " : "", left ? left : "");
    }
}

static void run(struct replay *r, struct pcap *pcap)
{
    struct pcap_packet p;
    const char *psk = events_string(&r->events, "psk");
    psk = psk ? psk : events_string(&r->events, "psk_initiator");
    check(r, psk != NULL, "the log tells the PSK");
    r->psk = span_str(psk ? psk : "");
    while (pcap_next(pcap, &p))
        packet(r, &p);
    check(r, !pcap->failed, "the capture reads to its end (%s)", pcap->failed ? pcap->error : "whole");
    check_nat_detection(r);
    check_nothing_left(r);
    esp_finish(r);
}

void replay_scenario(const char *dir, const char *name, FILE *tap, struct replay_result *ret)
{
    char path[4096];
    const char *error = NULL;
    struct pcap pcap = {0};
    struct replay *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    r->dir = dir, r->name = name, r->tap = tap, r->ret = ret;
    snprintf(path, sizeof path, "%s/%s.esp_keys.json", dir, name);
    r->esp_keys = json_load_file(path, 0, NULL);
    snprintf(path, sizeof path, "%s/%s.keys.json", dir, name);
    bool ok = check(r, events_open(&r->events, path, &error), "%s.keys.json %s", name, error ? error : "is readable");
    snprintf(path, sizeof path, "%s/%s.pcap", dir, name);
    ok = ok && check(r, pcap_open(&pcap, path), "%s.pcap %s", name, pcap.error ? pcap.error : "is readable");
    ok = ok && check(r, crypto_new(NULL, &r->c) == RC_OK, "a crypto context");
    if (ok)
        run(r, &pcap);
    for (size_t i = 0; i < r->n_sas; i++)
        sa_free(r->sas[i]);
    crypto_free(r->c);
    buf_free(&r->init_request);
    pcap_close(&pcap);
    events_close(&r->events);
    json_decref(r->esp_keys);
    wipe(r, sizeof *r);
    free(r);
}

static int is_capture(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 5 && strcmp(d->d_name + n - 5, ".pcap") == 0;
}

void replay_folder(const char *dir, FILE *tap, struct replay_result *ret)
{
    struct dirent **list = NULL;
    int n = scandir(dir, &list, is_capture, alphasort);
    if (n <= 0) {
        struct replay none = {.name = dir, .tap = tap, .ret = ret};
        check(&none, false, "a folder with NAME.pcap and NAME.keys.json");
    }
    for (int i = 0; i < n; i++) {
        list[i]->d_name[strlen(list[i]->d_name) - 5] = '\0';
        replay_scenario(dir, list[i]->d_name, tap, ret);
        free(list[i]);
    }
    free(list);
}
