/* ike/proposal: choosing from the peer's SA payload (RFC 7296 3.3, RFC 9370 2.2.1).
 */
#include "proposal.h"

#include <stdio.h>

/* One proposal as sets: bit i of a mask says that entry i of our policy's list is offered. */
struct offer {
    struct ike_proposal proposal;
    uint16_t encr, integ, prf, ke, addke[ADDKE_MAX];
    bool null_cipher, integ_none, ke_none, esn_no, addke_none[ADDKE_MAX];
    bool has_integ, has_ke, has_esn, has_addke[ADDKE_MAX];
    bool foreign; /* a transform type that does not belong here: the proposal is unacceptable, RFC 7296 3.3.6 */
};

static uint16_t bit_of(const uint16_t *list, uint8_t n, uint16_t id)
{
    for (uint8_t i = 0; i < n; i++)
        if (list[i] == id)
            return (uint16_t)(1u << i);
    return 0;
}

static uint16_t encr_bit(const struct proposal_policy *p, const struct ike_transform *t)
{
    for (uint8_t i = 0; i < p->n_encr; i++)
        if (p->encr[i].encr == t->id && p->encr[i].bits == t->key_bits)
            return (uint16_t)(1u << i);
    return 0;
}

static void take_transform(const struct ike_offer_rule *rule, const struct ike_transform *t, struct offer *o)
{
    const struct proposal_policy *p = rule->policy;
    bool ike = rule->protocol == PROTO_IKE;
    /* RFC 7296 3.3.5: Key Length belongs to ciphers of variable key only; elsewhere the transform cannot be taken. */
    bool good = t->acceptable && (t->type == T_ENCR || !t->key_bits);

    if (t->type == T_ENCR) {
        o->encr |= good ? encr_bit(p, t) : 0;
        o->null_cipher |= good && t->id == ENCR_NULL && !t->key_bits;
    } else if (t->type == T_PRF && ike) {
        o->prf |= good ? bit_of(p->prf, p->n_prf, t->id) : 0;
    } else if (t->type == T_INTEG) {
        o->has_integ = true;
        o->integ |= good && t->id != INTEG_NONE ? bit_of(p->integ, p->n_integ, t->id) : 0;
        o->integ_none |= good && t->id == INTEG_NONE;
    } else if (t->type == T_KE) {
        o->has_ke = true;
        o->ke |= good && t->id != KE_NONE ? bit_of(p->ke, p->n_ke, t->id) : 0;
        o->ke_none |= good && t->id == KE_NONE;
    } else if (t->type == T_ESN && !ike) {
        o->has_esn = true;
        o->esn_no |= good && t->id == 0;
    } else if (t->type >= T_ADDKE1 && t->type <= T_ADDKE7) {
        size_t n = t->type - T_ADDKE1;
        o->has_addke[n] = true;
        o->addke[n] |= good && t->id != KE_NONE ? bit_of(p->addke, p->n_addke, t->id) : 0;
        o->addke_none[n] |= good && t->id == KE_NONE;
    } else {
        o->foreign = true;
    }
}

static bool next_offer(const struct ike_offer_rule *rule, struct rd *sa, struct offer *ret)
{
    *ret = (struct offer){0};
    if (!ike_proposal_next(sa, &ret->proposal))
        return false;
    struct rd transforms = ret->proposal.transforms;
    struct ike_transform t;
    while (ike_transform_next(&transforms, &t))
        take_transform(rule, &t, ret);
    return true;
}

/* ---- what a tunnel takes from the daemon's lists */

static uint8_t restrict_list(const uint16_t *wide, uint8_t n_wide, const uint16_t *narrow, uint8_t n_narrow,
                             uint16_t *ret)
{
    uint8_t n = 0;
    for (size_t i = 0; i < (n_narrow ? n_narrow : n_wide); i++) {
        uint16_t id = n_narrow ? narrow[i] : wide[i];
        if (bit_of(wide, n_wide, id))
            ret[n++] = id;
    }
    return n;
}

void ike_proposal_restrict(const struct proposal_policy *wide, const struct proposal_policy *narrow,
                           struct proposal_policy *ret)
{
    const struct proposal_policy *from = narrow->n_encr ? narrow : wide;
    struct proposal_policy p = {0};
    for (uint8_t i = 0; i < from->n_encr; i++) {
        const struct ike_transform t = {.id = from->encr[i].encr, .key_bits = from->encr[i].bits};
        if (encr_bit(wide, &t))
            p.encr[p.n_encr++] = from->encr[i];
    }
    p.n_integ = restrict_list(wide->integ, wide->n_integ, narrow->integ, narrow->n_integ, p.integ);
    p.n_prf = restrict_list(wide->prf, wide->n_prf, narrow->prf, narrow->n_prf, p.prf);
    p.n_ke = restrict_list(wide->ke, wide->n_ke, narrow->ke, narrow->n_ke, p.ke);
    p.n_addke = restrict_list(wide->addke, wide->n_addke, narrow->addke, narrow->n_addke, p.addke);
    *ret = p;
}

static bool allows(const uint16_t *list, uint8_t n, uint16_t id)
{
    return !id || !n || bit_of(list, n, id);
}

bool ike_proposal_allows(const struct proposal_policy *narrow, const struct suite *s)
{
    const struct ike_transform encr = {.id = s->encr, .key_bits = s->encr_bits};
    bool good = !narrow->n_encr || encr_bit(narrow, &encr);
    good &= allows(narrow->integ, narrow->n_integ, s->integ) && allows(narrow->prf, narrow->n_prf, s->prf) &&
            allows(narrow->ke, narrow->n_ke, s->ke);
    for (size_t i = 0; i < ADDKE_MAX; i++)
        good &= allows(narrow->addke, narrow->n_addke, s->addke[i]);
    return good;
}

/* ---- the parts of a choice; each returns false when the offer has nothing acceptable */

static bool usable(const struct ike_offer_rule *rule, struct encr_choice e, uint16_t integ)
{
    struct sk_sizes sk;
    struct esp_sizes esp;
    if (rule->protocol == PROTO_IKE)
        return crypto_sk_sizes((struct sk_alg){e.encr, e.bits, integ}, &sk);
    return crypto_esp_sizes((struct esp_alg){e.encr, e.bits, integ}, &esp);
}

static bool choose_integ(const struct ike_offer_rule *rule, const struct offer *o, struct encr_choice e, uint16_t *ret)
{
    if (e.encr == ENCR_AES_GCM_16) { /* an AEAD: no integrity transform, or NONE (RFC 7296 3.3) */
        *ret = INTEG_NONE;
        return (!o->has_integ || o->integ_none) && usable(rule, e, INTEG_NONE);
    }
    for (uint8_t i = 0; i < rule->policy->n_integ; i++)
        if (o->integ >> i & 1 && usable(rule, e, rule->policy->integ[i])) {
            *ret = rule->policy->integ[i];
            return true;
        }
    return false;
}

static bool choose_cipher(const struct ike_offer_rule *rule, const struct offer *o, struct suite *ret)
{
    const struct encr_choice null = {ENCR_NULL, 0};
    const struct proposal_policy *p = rule->policy;
    for (uint8_t i = 0; i < p->n_encr; i++)
        if (o->encr >> i & 1 && choose_integ(rule, o, p->encr[i], &ret->integ)) {
            ret->encr = p->encr[i].encr;
            ret->encr_bits = p->encr[i].bits;
            return true;
        }
    if (rule->null_cipher && o->null_cipher && choose_integ(rule, o, null, &ret->integ)) {
        ret->encr = ENCR_NULL;
        ret->encr_bits = 0;
        return true;
    }
    return false;
}

static uint16_t first_of(const uint16_t *list, uint16_t mask)
{
    return mask ? list[__builtin_ctz(mask)] : 0;
}

static bool choose_ke(const struct ike_offer_rule *rule, const struct offer *o, struct suite *ret)
{
    ret->ke = rule->ke == KE_RULE_NEVER ? KE_NONE : first_of(rule->policy->ke, o->ke);
    if (rule->ke == KE_RULE_REQUIRED)
        return ret->ke != KE_NONE;
    return ret->ke != KE_NONE || !o->has_ke || o->ke_none;
}

/* RFC 9370 2.2.1: no two key exchanges of one SA may be the same, NONE apart; we count the first one among them. That makes it a
 * search, which `budget` bounds whatever the peer offers. picked[n]: method for ADDKE(n+1), KE_NONE. */
static bool choose_addke(const struct ike_offer_rule *rule, const struct offer *o, uint16_t ke, size_t n, int *budget,
                         uint16_t picked[ADDKE_MAX])
{
    if (n == ADDKE_MAX)
        return true;
    picked[n] = KE_NONE;
    if (!o->has_addke[n])
        return choose_addke(rule, o, ke, n + 1, budget, picked);
    if (--*budget < 0)
        return false;
    for (uint8_t i = 0; rule->addke && ke != KE_NONE && i < rule->policy->n_addke; i++) {
        uint16_t method = rule->policy->addke[i];
        if (!(o->addke[n] >> i & 1) || method == ke || bit_of(picked, (uint8_t)n, method))
            continue;
        picked[n] = method;
        if (choose_addke(rule, o, ke, n + 1, budget, picked))
            return true;
    }
    picked[n] = KE_NONE;
    return o->addke_none[n] && choose_addke(rule, o, ke, n + 1, budget, picked);
}

static void put(struct ike_choice *c, uint8_t type, uint16_t id, uint16_t bits)
{
    c->out[c->n++] = (struct ike_transform_out){.type = type, .id = id, .key_bits = bits};
}

/* What keeps an offer from being taken, one bit each. */
enum fault {
    FAULT_CIPHER = 1,
    FAULT_PRF = 2,
    FAULT_KE = 4,
    FAULT_ADDKE = 8,
    FAULT_ESN = 16,
    FAULT_FOREIGN = 32,
    FAULT_PROTOCOL = 64
};

static unsigned judge(const struct ike_offer_rule *rule, const struct offer *o, struct ike_choice *ret)
{
    struct suite s = {0};
    uint16_t addke[ADDKE_MAX];
    unsigned faults = o->foreign ? FAULT_FOREIGN : 0;
    bool ike = rule->protocol == PROTO_IKE;
    int budget = 256;

    if (!choose_cipher(rule, o, &s))
        faults |= FAULT_CIPHER;
    s.prf = ike ? first_of(rule->policy->prf, o->prf) : 0;
    if (ike && !s.prf)
        faults |= FAULT_PRF;
    if (!choose_ke(rule, o, &s))
        faults |= FAULT_KE;
    if (!choose_addke(rule, o, s.ke, 0, &budget, addke))
        faults |= FAULT_ADDKE;
    if (!ike && !o->esn_no) /* ESN is mandatory in ESP proposals (RFC 7296 3.3.3), and we take "no" only */
        faults |= FAULT_ESN;

    struct ike_choice c = {.num = o->proposal.num, .spi = o->proposal.spi};
    put(&c, T_ENCR, s.encr, s.encr_bits);
    if (ike)
        put(&c, T_PRF, s.prf, 0);
    if (o->has_integ)
        put(&c, T_INTEG, s.integ, 0);
    if (o->has_ke)
        put(&c, T_KE, s.ke, 0);
    if (!ike)
        put(&c, T_ESN, 0, 0);
    for (size_t i = 0, n = 0; !(faults & FAULT_ADDKE) && i < ADDKE_MAX; i++) {
        if (o->has_addke[i])
            put(&c, (uint8_t)(T_ADDKE1 + i), addke[i], 0);
        if (addke[i] != KE_NONE)
            s.addke[n++] = addke[i];
    }
    if (rule->addke_must && !s.addke[0])
        faults |= FAULT_ADDKE;
    c.suite = s;
    *ret = c;
    return faults;
}

static bool has_pq(const struct suite *s)
{
    for (size_t i = 0; i < ADDKE_MAX; i++)
        if (s->addke[i] && crypto_ke_is_pq(s->addke[i]))
            return true;
    return crypto_ke_is_pq(s->ke);
}

static bool fits(const struct ike_offer_rule *rule, const struct offer *o)
{
    return o->proposal.protocol == rule->protocol && o->proposal.spi.n == rule->spi_size;
}

enum rc ike_proposal_choose(const struct ike_offer_rule *rule, struct span body, struct ike_choice *ret)
{
    struct ike_choice first = {0}, c;
    struct rd sa = rd_of(body);
    struct offer o;
    bool found = false;
    while (next_offer(rule, &sa, &o)) {
        if (!fits(rule, &o) || judge(rule, &o, &c) != 0)
            continue;
        if (has_pq(&c.suite)) {
            *ret = c;
            return RC_OK;
        }
        if (!found)
            first = c;
        found = true;
    }
    if (!found)
        return RC_ABSENT;
    *ret = first;
    return RC_OK;
}

/* ---- text */

static void name_transform(uint8_t type, uint16_t id, uint16_t bits, char *ret, size_t n)
{
    const char *name = "?", *prefix = "";
    char addke[16];
    if (type == T_ENCR)
        name = crypto_encr_name(id, bits);
    else if (type == T_PRF)
        name = crypto_prf_name(id);
    else if (type == T_INTEG)
        name = id == INTEG_NONE ? "INTEG_NONE" : crypto_integ_name(id);
    else if (type == T_KE)
        name = id == KE_NONE ? "KE_NONE" : crypto_ke_name(id);
    else if (type == T_ESN)
        name = id == 0 ? "NO_ESN" : id == 1 ? "ESN" : "?";
    if (type >= T_ADDKE1 && type <= T_ADDKE7) {
        name = id == KE_NONE ? "NONE" : crypto_ke_name(id);
        snprintf(addke, sizeof addke, "ADDKE%d_", type - T_ADDKE1 + 1);
        prefix = addke;
    }
    if (name[0] != '?')
        snprintf(ret, n, "%s%s", prefix, name);
    else if (bits)
        snprintf(ret, n, "%s%u:%u_%u", prefix, type, id, bits);
    else
        snprintf(ret, n, "%s%u:%u", prefix, type, id);
}

/* Appends, or once it does not fit any more ends the text in "..." and says false. */
static bool append(char *text, size_t n, const char *separator, const char *word)
{
    size_t used = strlen(text), need = strlen(separator) + strlen(word);
    if (used + need + 4 > n) {
        snprintf(text + used, n - used, "...");
        return false;
    }
    snprintf(text + used, n - used, "%s%s", separator, word);
    return true;
}

const char *ike_suite_text(const struct suite *s, char ret[IKE_SUITE_TEXT])
{
    char word[64];
    ret[0] = '\0';
    name_transform(T_ENCR, s->encr, s->encr_bits, word, sizeof word);
    bool room = append(ret, IKE_SUITE_TEXT, "", word);
    const struct {
        uint8_t type;
        uint16_t id;
    } rest[] = {{T_INTEG, s->integ}, {T_PRF, s->prf}, {T_KE, s->ke}};
    for (size_t i = 0; room && i < ARRAY_LEN(rest); i++)
        if (rest[i].id) {
            name_transform(rest[i].type, rest[i].id, 0, word, sizeof word);
            room = append(ret, IKE_SUITE_TEXT, "/", word);
        }
    for (uint8_t i = 0; room && i < ADDKE_MAX && s->addke[i]; i++) {
        name_transform((uint8_t)(T_ADDKE1 + i), s->addke[i], 0, word, sizeof word);
        room = append(ret, IKE_SUITE_TEXT, "/", word);
    }
    return ret;
}

const char *ike_offer_text(struct span body, char ret[IKE_OFFER_TEXT])
{
    struct rd sa = rd_of(body);
    struct ike_proposal p;
    const char *separator = "";
    bool room = true;
    ret[0] = '\0';
    while (room && ike_proposal_next(&sa, &p)) {
        struct ike_transform t;
        uint8_t last = 0;
        while (room && ike_transform_next(&p.transforms, &t)) {
            char word[64];
            name_transform(t.type, t.id, t.key_bits, word, sizeof word);
            room = append(ret, IKE_OFFER_TEXT, last == t.type ? "+" : separator, word);
            last = t.type;
            separator = "/";
        }
        separator = "; ";
    }
    return ret;
}

/* ---- what would have been accepted */

static void correct(const struct ike_offer_rule *rule, unsigned faults, struct suite *s)
{
    const struct proposal_policy *p = rule->policy;
    if (faults & FAULT_CIPHER && p->n_encr) {
        s->encr = p->encr[0].encr;
        s->encr_bits = p->encr[0].bits;
        s->integ = s->encr == ENCR_AES_GCM_16 || !p->n_integ ? INTEG_NONE : p->integ[0];
    }
    if (faults & FAULT_PRF && p->n_prf)
        s->prf = p->prf[0];
    if (faults & FAULT_KE)
        s->ke = rule->ke == KE_RULE_REQUIRED && p->n_ke ? p->ke[0] : KE_NONE;
    if (faults & FAULT_ADDKE)
        s->addke[0] = rule->addke && p->n_addke ? p->addke[0] : KE_NONE;
}

static int weight(unsigned faults)
{
    int n = faults & FAULT_PROTOCOL ? 8 : 0;
    for (; faults; faults &= faults - 1)
        n++;
    return n;
}

void ike_proposal_nearest(const struct ike_offer_rule *rule, struct span body, struct ike_nearest *ret)
{
    static const char *const PARTS[] = {"encryption or integrity", "PRF",     "key exchange", "additional key exchange",
                                        "sequence numbers",        "unknown", "protocol"};
    struct rd sa = rd_of(body);
    struct offer o;
    struct ike_choice c;
    struct suite nearest = {0};
    unsigned best = 0;
    bool any = false;
    while (next_offer(rule, &sa, &o)) {
        unsigned faults = judge(rule, &o, &c) | (fits(rule, &o) ? 0 : FAULT_PROTOCOL);
        if (any && weight(best) <= weight(faults))
            continue;
        best = faults;
        nearest = c.suite;
        correct(rule, faults, &nearest);
        any = true;
    }
    ret->parts[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(PARTS); i++)
        if (best >> i & 1)
            append(ret->parts, sizeof ret->parts, ret->parts[0] ? ", " : "", PARTS[i]);
    ret->text = any ? ike_suite_text(&nearest, ret->suite) : NULL;
    ret->differs = any ? ret->parts : NULL;
}
