/* ike/input: one datagram on its way: header, SA, message ID, decryption, shape, row of the table, handler, and only then, all at
 * once, what changes: stored reply, keys, state, actions.
 */
#include "create.h"
#include "seal.h"
#include "transitions.h"

static void drop(struct ike_inbound *x, enum ike_count count, const char *why)
{
    ike_event_drop(x->turn, &x->path, count, x->header.spi_i, why);
}

static bool is_response(const struct ike_inbound *x)
{
    return x->header.flags & IKE_FLAG_RESPONSE;
}

/* ---- replies */

void ike_stateless_notify(struct ike_turn *t, const struct path *path, const struct ike_header *h, uint16_t type,
                          struct span data)
{
    uint8_t bytes[IKE_HEADER_SIZE + 8 + 64];
    struct ike_writer iw;
    struct span message;
    struct ike_header reply = *h;
    reply.version = IKE_VERSION;
    reply.flags = (uint8_t)(IKE_FLAG_RESPONSE | (h->flags & IKE_FLAG_INITIATOR ? 0 : IKE_FLAG_INITIATOR));
    ike_write_message(&iw, wr_of(bytes, sizeof bytes), &reply);
    ike_write_notify(&iw, PROTO_NONE, span_of(NULL, 0), type, data);
    if (ike_write_finish(&iw, &message) != RC_OK)
        return;
    /* Nobody has proved an address yet: never send more than came in. A cookie costs nothing, so it needs no token. */
    if (message.n > h->length || (type != N_COOKIE && !bucket_take(&t->ike->stateless, t->now))) {
        ike_count_add(t->ike, IKE_COUNT_DROP_RATE);
        return;
    }
    ike_act_send(t, path, message);
}

struct ike_header ike_reply_header(const struct ike_inbound *x)
{
    return (struct ike_header){
        .spi_i = x->sa->spi_i,
        .spi_r = x->sa->spi_r,
        .version = IKE_VERSION,
        .exchange = x->header.exchange,
        .flags = (uint8_t)(IKE_FLAG_RESPONSE | (x->sa->initiator ? IKE_FLAG_INITIATOR : 0)),
        .mid = x->header.mid,
    };
}

void ike_reply_reset(struct ike_inbound *x)
{
    ike_write_inner(&x->reply, wr_of(x->turn->ike->inner, IKE_INNER_MAX));
}

enum rc ike_reply_inner(struct ike_inbound *x, uint8_t *ret_first, struct span *ret_inner)
{
    struct ike_writer done = x->reply;
    enum rc rc = ike_write_finish(&done, ret_inner);
    if (rc == RC_OK)
        *ret_first = ike_write_first(&done);
    return rc;
}

void ike_reply_notify(struct ike_inbound *x, uint16_t type, struct span data)
{
    ike_reply_reset(x);
    ike_write_notify(&x->reply, PROTO_NONE, span_of(NULL, 0), type, data);
}

/* RFC 7383 2.4 and 2.5.1: what came in fragments is answered in fragments no larger than those; a whole message proves that
 * datagrams of its size pass. */
static size_t reply_limit(const struct ike_inbound *x)
{
    size_t limit = ike_seal_limit(&x->path, x->turn->ike->policy.fragment_size);
    size_t least = ike_seal_limit(&x->path, x->path.remote.addr.family == 6 ? 1280 : 576);
    if (x->fragmented && x->largest < limit)
        return x->largest > least ? x->largest : least;
    if (!x->fragmented && !x->sa->fragments_used && x->largest > limit)
        return x->largest;
    return limit;
}

/* ---- requests */

/* Everything that a request changes is changed here and nowhere else. */
static void commit(struct ike_inbound *x, const struct ike_transition *row, enum ike_outcome outcome)
{
    struct ike_sa *sa = x->sa;
    struct ike_message message;
    struct ike_header header = ike_reply_header(x);
    struct span inner;
    uint8_t first;
    if (ike_reply_inner(x, &first, &inner) != RC_OK ||
        ike_seal(x->turn->ike, sa, &header, first, inner, reply_limit(x), &message) != RC_OK) {
        drop(x, IKE_COUNT_DROP_LIMIT, "the reply could not be made");
        return;
    }
    ike_message_free(&sa->answered.message);
    sa->answered.valid = true;
    sa->answered.exchange = x->header.exchange;
    sa->answered.hash = x->hash;
    sa->answered.message = message;
    sa->mid_in = x->header.mid + 1;
    ike_sa_heard(x->turn, sa);

    struct ike_secrets *s = sa->secrets;
    struct ike_half in, out;
    ike_seal_half(&s->keys, !sa->initiator, &in);
    ike_seal_half(&s->keys, sa->initiator, &out);
    if (x->has_next)
        *s = x->next;
    s->last_in = in;
    s->last_out = out;
    wipe(&in, sizeof in);
    wipe(&out, sizeof out);

    ike_move_by_request(x);
    if (outcome == OUTCOME_REPLY)
        sa->state = row->next;
    if (x->commit)
        x->commit(x);
    ike_act_send_message(x->turn, &x->path, &sa->answered.message);
    if (outcome == OUTCOME_KILL)
        ike_sa_end(x->turn, sa, CHILD_DOWN_PEER);
    else
        ike_request_next(x->turn, sa);
}

static void repeat(struct ike_inbound *x)
{
    struct ike_sa *sa = x->sa;
    if (!bucket_take(&sa->resend, x->turn->now)) {
        ike_count_add(x->turn->ike, IKE_COUNT_DROP_RATE);
        return;
    }
    ike_count_add(x->turn->ike, IKE_COUNT_RETRANSMIT_ANSWERED);
    if (sa->answered.message.inner.n && sa->secrets)
        ike_seal_smaller(x->turn->ike, sa, &x->path, &sa->secrets->last_out, &sa->answered.message);
    ike_act_send_message(x->turn, &x->path, &sa->answered.message);
}

/* The request answered last came again (RFC 7296 2.1): the same octets go back. Matched by its hash before any key is tried, as
 * IKE_INTERMEDIATE has changed them since; failing that, by the keys it came under: a sender may cut a message anew. */
static void answered_request(struct ike_inbound *x)
{
    const struct ike_sa *sa = x->sa;
    bool known = sa->answered.valid && sa->answered.exchange == x->header.exchange;
    if (known && sa->answered.hash == x->hash)
        repeat(x);
    else if (known && x->header.exchange != IKE_SA_INIT && ike_unlock_repeated(x))
        repeat(x);
    else
        ike_count_add(x->turn->ike,
                      IKE_COUNT_DROP_MESSAGE_ID); /* fragments after the first end here: not worth a line */
}

enum ike_outcome ike_refuse_syntax(struct ike_inbound *x, const char *why)
{
    if (x->sa->source[SCOPE_HOST]) { /* half-open */
        const struct ike_report report = {
            .count = IKE_COUNT_DROP_SYNTAX,
            .reason = why,
            .path = &x->path,
            .sa = x->sa,
        };
        ike_event_failed(x->turn, &report);
    } else {
        drop(x, IKE_COUNT_DROP_SYNTAX, why);
    }
    ike_reply_notify(x, N_INVALID_SYNTAX, span_of(NULL, 0));
    return OUTCOME_KILL;
}

static enum ike_outcome dispatch(struct ike_inbound *x, const struct ike_transition **ret_row)
{
    struct ike_error error = {.what = "malformed"};
    if (x->malformed)
        return ike_refuse_syntax(x, x->malformed);
    if (ike_chain_read(x->first, x->inner, &x->chain, &error) != RC_OK)
        return ike_refuse_syntax(x, error.what);
    const struct ike_payload *critical = ike_chain_critical(&x->chain);
    if (critical) { /* RFC 7296 2.5: MUST be rejected with the type of the payload */
        drop(x, IKE_COUNT_DROP_SYNTAX, "unknown critical payload");
        ike_reply_notify(x, N_UNSUPPORTED_CRITICAL_PAYLOAD, span_of(&critical->type, 1));
        return x->sa->source[SCOPE_HOST] ? OUTCOME_KILL : OUTCOME_STAY;
    }
    if (ike_shape_check(x->header.exchange, false, true, &x->chain, &error) != RC_OK)
        return ike_refuse_syntax(x, error.what);
    const struct ike_transition *row = ike_transition_find(x->sa->state, x->header.exchange, false, &x->chain);
    if (!row)
        return ike_refuse_syntax(x, "payloads do not fit the exchange");
    *ret_row = row;
    return row->handler(x);
}

static void request(struct ike_inbound *x)
{
    const struct ike_sa *sa = x->sa;
    const struct ike_transition *row = NULL;
    if (sa->mid_in && x->header.mid == sa->mid_in - 1) {
        answered_request(x);
        return;
    }
    if (x->header.mid != sa->mid_in) {
        drop(x, IKE_COUNT_DROP_MESSAGE_ID, "message ID outside the window");
        return;
    }
    if (!ike_transition_any(sa->state, x->header.exchange, false)) {
        drop(x, IKE_COUNT_DROP_EXCHANGE, ike_refusal(sa->state, x->header.exchange, false));
        return;
    }
    if (!ike_unlock(x))
        return;
    ike_reply_reset(x);
    enum ike_outcome outcome = dispatch(x, &row);
    switch (outcome) {
    case OUTCOME_REPLY:
    case OUTCOME_STAY:
    case OUTCOME_KILL: commit(x, row, outcome); break;
    case OUTCOME_DROP:
    case OUTCOME_DONE: break;
    }
}

/* ---- responses to our own requests. Errors in them are never answered (RFC 7296 2.21.3). */

static void response(struct ike_inbound *x)
{
    struct ike_sa *sa = x->sa;
    struct ike_error error = {.what = "malformed"};
    if (sa->own.errand == ERRAND_NONE || x->header.mid != sa->own.mid || x->header.exchange != sa->own.exchange) {
        drop(x, IKE_COUNT_DROP_MESSAGE_ID, "response without a request of ours");
        return;
    }
    if (!ike_transition_any(sa->state, x->header.exchange, true)) {
        drop(x, IKE_COUNT_DROP_EXCHANGE, ike_refusal(sa->state, x->header.exchange, true));
        return;
    }
    if (!ike_unlock(x))
        return;
    if (x->malformed || ike_chain_read(x->first, x->inner, &x->chain, &error) != RC_OK ||
        ike_shape_check(x->header.exchange, true, true, &x->chain, &error) != RC_OK) {
        drop(x, IKE_COUNT_DROP_SYNTAX, x->malformed ? x->malformed : error.what);
        return;
    }
    const struct ike_transition *row = ike_transition_find(sa->state, x->header.exchange, true, &x->chain);
    if (!row) {
        drop(x, IKE_COUNT_DROP_SYNTAX, "payloads do not fit the exchange");
        return;
    }
    ike_sa_heard(x->turn, sa);
    ike_move_by_answer(x);
    switch (row->handler(x)) {
    case OUTCOME_KILL: ike_sa_end(x->turn, sa, CHILD_DOWN_PEER); break;
    case OUTCOME_DONE: ike_sa_end(x->turn, sa, CHILD_DOWN_ADMIN); break;
    case OUTCOME_DROP:
    case OUTCOME_REPLY:
    case OUTCOME_STAY: ike_request_next(x->turn, sa); break;
    }
}

/* ---- IKE_SA_INIT */

static void init_request(struct ike_inbound *x)
{
    struct ike_turn *t = x->turn;
    struct ike_error error = {.what = "malformed"};
    /* RFC 7296 2.6, 2.2, 3.1: the initiator's first message has no SPI of ours and message ID 0. */
    if (x->header.spi_r || x->header.mid || !(x->header.flags & IKE_FLAG_INITIATOR)) {
        drop(x, IKE_COUNT_DROP_HEADER, "IKE_SA_INIT with a responder SPI, message ID or wrong flags");
        return;
    }
    if (!ike_endpoint_known(t->ike, &x->path.local.addr)) {
        drop(x, IKE_COUNT_DROP_UNKNOWN_ENDPOINT, "no tunnel ends at this address");
        return;
    }
    x->sa = ike_sa_find_init(t->ike, x->hash, x->header.spi_i);
    if (x->sa) { /* the same octets again; once IKE_AUTH or IKE_INTERMEDIATE came they are stale */
        if (x->sa->mid_in == 1 && x->sa->answered.valid)
            repeat(x);
        else
            ike_count_add(t->ike, IKE_COUNT_DROP_MESSAGE_ID);
        return;
    }
    struct rd r = rd_of(x->datagram);
    rd_take(&r, IKE_HEADER_SIZE);
    if (ike_chain_read(x->header.next, rd_rest(&r), &x->chain, &error) != RC_OK) {
        drop(x, IKE_COUNT_DROP_SYNTAX, error.what);
        return;
    }
    const struct ike_payload *critical = ike_chain_critical(&x->chain);
    if (critical) {
        drop(x, IKE_COUNT_DROP_SYNTAX, "unknown critical payload");
        ike_stateless_notify(t, &x->path, &x->header, N_UNSUPPORTED_CRITICAL_PAYLOAD, span_of(&critical->type, 1));
        return;
    }
    if (ike_shape_check(IKE_SA_INIT, false, false, &x->chain, &error) != RC_OK) {
        drop(x, IKE_COUNT_DROP_SYNTAX, error.what);
        return;
    }
    const struct ike_transition *row = ike_transition_find(IKE_STATE_NEW, IKE_SA_INIT, false, &x->chain);
    if (!row) {
        drop(x, IKE_COUNT_DROP_SYNTAX, "payloads do not fit the exchange");
        return;
    }
    (void)row->handler(x); /* answers and makes the SA by itself */
}

/* ---- the way in */

static bool header_good(struct ike_inbound *x)
{
    struct ike_header *h = &x->header;
    if (ike_header_read(x->datagram, h) != RC_OK) {
        drop(x, IKE_COUNT_DROP_HEADER, "shorter than an IKE header");
        return false;
    }
    if (h->length != x->datagram.n || !h->spi_i) {
        drop(x, IKE_COUNT_DROP_HEADER, h->spi_i ? "length differs from the datagram's" : "initiator SPI is zero");
        return false;
    }
    if (h->version >> 4 != 2) { /* minor versions are ignored, RFC 7296 2.5 */
        drop(x, IKE_COUNT_DROP_VERSION, "not IKEv2");
        if (h->version >> 4 > 2 && !is_response(x))
            ike_stateless_notify(x->turn, &x->path, h, N_INVALID_MAJOR_VERSION, span_of(NULL, 0));
        return false;
    }
    if (!ike_transition_any(IKE_STATE_NEW, h->exchange, is_response(x)) &&
        !ike_refusal(IKE_STATE_NEW, h->exchange, is_response(x))) {
        drop(x, IKE_COUNT_DROP_EXCHANGE, "unknown exchange type");
        return false;
    }
    return true;
}

/* By our SPI alone, never by address (RFC 7296 2.6); the Initiator flag tells which of the two is ours. */
static bool find_sa(struct ike_inbound *x)
{
    const struct ike_header *h = &x->header;
    bool from_initiator = h->flags & IKE_FLAG_INITIATOR;
    uint64_t ours = from_initiator ? h->spi_r : h->spi_i, theirs = from_initiator ? h->spi_i : h->spi_r;
    struct ike_sa *sa = ike_sa_find(x->turn->ike, ours);
    if (sa && sa->initiator != from_initiator && (sa->initiator ? sa->spi_r : sa->spi_i) == theirs) {
        x->sa = sa;
        return true;
    }
    drop(x, IKE_COUNT_DROP_UNKNOWN_SPI, "no SA of that SPI");
    if (!is_response(x) && h->spi_r && h->exchange != IKE_SA_INIT) /* RFC 7296 1.5: MAY, and only a hint to the peer */
        ike_stateless_notify(x->turn, &x->path, h, N_INVALID_IKE_SPI, span_of(NULL, 0));
    return false;
}

static void receive(struct ike_inbound *x)
{
    if (!header_good(x))
        return;
    if (x->header.exchange == IKE_SA_INIT && !is_response(x))
        init_request(x);
    else if (find_sa(x) && is_response(x))
        response(x);
    else if (x->sa)
        request(x);
}

void ike_input(struct ike *ike, uint64_t now, const struct path *path, struct span datagram, struct acts *ret)
{
    struct ike_turn t = {ike, now, ret};
    struct ike_inbound x = {.turn = &t, .path = *path, .datagram = datagram, .largest = datagram.n};
    ike_count_add(ike, IKE_COUNT_RECEIVED);
    if (!ike_acts_room(&t)) {
        ike_count_add(ike, IKE_COUNT_DROP_LIMIT);
        return;
    }
    x.hash = ike_hash(ike, datagram);
    receive(&x);

    /* The single exit: what was not committed goes, and no plaintext stays. */
    ike_child_discard(ike, x.auth.keys, x.auth.child);
    ike_create_free(ike, x.create);
    wipe(&x.next, sizeof x.next);
    wipe(ike->in, datagram.n < IKE_DATAGRAM_MAX ? datagram.n : IKE_DATAGRAM_MAX);
    wipe(ike->joined, x.fragmented ? x.inner.n : 0);
}
