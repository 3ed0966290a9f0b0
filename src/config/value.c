/* value: readers and printers of scalars. */
#include "value.h"

#include <inttypes.h>
#include <stdio.h>

#include "loader.h"

/* ---- numbers */

static bool read_number(const char *text, uint64_t *ret)
{
    const char *p = text;
    bool hex = p[0] == '0' && p[1] == 'x';
    uint64_t base = hex ? 16 : 10, v = 0;
    if (hex)
        p += 2;
    if (!*p || (!hex && p[0] == '0' && p[1])) /* 010 means 8 to some and 10 to others */
        return false;
    for (; *p; p++) {
        unsigned digit;
        if (*p >= '0' && *p <= '9')
            digit = (unsigned)(*p - '0');
        else if (hex && (*p | 0x20) >= 'a' && (*p | 0x20) <= 'f')
            digit = (unsigned)((*p | 0x20) - 'a') + 10;
        else
            return false;
        if (v > (UINT64_MAX - digit) / base)
            return false;
        v = v * base + digit;
    }
    *ret = v;
    return true;
}

const char *config_read_bool(const struct field *f, const char *text, struct loader *l, void *ret)
{
    (void)f, (void)l;
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0)
        return "is neither true nor false; write one of the two";
    *(bool *)ret = yes;
    return NULL;
}

const char *config_read_uint(const struct field *f, const char *text, struct loader *l, void *ret)
{
    uint64_t v;
    if (!read_number(text, &v))
        return "is not a number; write decimal digits or 0x and hexadecimal digits";
    if (v < (uint64_t)f->least || v > (uint64_t)f->most)
        return config_why(l, "is out of range; use %" PRId64 " to %" PRId64, f->least, f->most);
    *(uint32_t *)ret = (uint32_t)v;
    return NULL;
}

const char *config_read_dscp(const struct field *f, const char *text, struct loader *l, void *ret)
{
    (void)f, (void)l;
    uint64_t v = DSCP_COPY;
    if (strcmp(text, "copy") != 0 && (!read_number(text, &v) || v > 63))
        return "is not a DSCP; write copy or a number from 0 to 63";
    *(uint32_t *)ret = (uint32_t)v;
    return NULL;
}

/* Largest first, for printing. */
static const struct unit {
    const char *text;
    uint64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

const char *config_read_duration(const struct field *f, const char *text, struct loader *l, void *ret)
{
    char digits[24];
    size_t n = strspn(text, "0123456789");
    const struct unit *unit = NULL;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(text + n, units[i].text) == 0)
            unit = &units[i];
    uint64_t v;
    if (!unit || n == 0 || n >= sizeof digits)
        return "is not a duration; write a number and a unit: ms, s, m, h or d, such as 30s";
    snprintf(digits, sizeof digits, "%.*s", (int)n, text);
    if (!read_number(digits, &v))
        return "is not a duration; write a number without leading zeros and a unit, such as 30s";
    if (v > (uint64_t)f->most / unit->ms || v * unit->ms < (uint64_t)f->least) {
        char least[24], most[24];
        uint64_t lo = (uint64_t)f->least * NS_PER_MS, hi = (uint64_t)f->most * NS_PER_MS;
        config_print_duration(&lo, least, sizeof least);
        config_print_duration(&hi, most, sizeof most);
        return config_why(l, "is out of range; use %s to %s", least, most);
    }
    *(uint64_t *)ret = v * unit->ms * NS_PER_MS;
    return NULL;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar: years are counted from March, so that the leap day ends one. */
static uint64_t days_of(unsigned year, unsigned month, unsigned day)
{
    unsigned y = month <= 2 ? year - 1 : year, m = (month + 9) % 12;
    uint64_t days = 365u * (uint64_t)y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    return days - 719468; /* 0000-03-01 to 1970-01-01 */
}

static unsigned month_length(unsigned year, unsigned month)
{
    static const uint8_t lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : lengths[month - 1];
}

static unsigned digits(const char *text, size_t n)
{
    unsigned value = 0;
    for (size_t i = 0; i < n; i++)
        value = 10 * value + (unsigned)(text[i] - '0');
    return value;
}

const char *config_read_time(const struct field *f, const char *text, struct loader *l, void *ret)
{
    (void)f, (void)l;
    static const char why[] = "is not a date; write 2027-01-31 (the end of that day, UTC) or 2027-01-31T12:00:00Z";
    static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
    size_t n = strlen(text);
    if (n != 10 && n != 20)
        return why;
    for (size_t i = 0; i < n; i++)
        if (shape[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i])
            return why;
    unsigned year = digits(text, 4), month = digits(text + 5, 2), day = digits(text + 8, 2);
    unsigned hour = n == 20 ? digits(text + 11, 2) : 23, minute = n == 20 ? digits(text + 14, 2) : 59;
    unsigned second = n == 20 ? digits(text + 17, 2) : 59;
    if (year < 2000 || month < 1 || month > 12 || day < 1 || day > month_length(year, month) || hour > 23 ||
        minute > 59 || second > 59)
        return why;
    *(uint64_t *)ret = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return NULL;
}

/* ---- texts */

static const char *keep(struct loader *l, const char *text, void *ret)
{
    const char *copy = config_arena_text(l->arena, span_str(text));
    if (!copy)
        return "could not be kept: out of memory";
    *(const char **)ret = copy;
    return NULL;
}

static const char *check_length(const struct field *f, const char *text, struct loader *l)
{
    size_t n = strlen(text);
    if (n < (size_t)f->least || n > (size_t)f->most)
        return config_why(l, "has %zu characters; use %" PRId64 " to %" PRId64, n, f->least, f->most);
    return NULL;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool all_name_chars(const char *text)
{
    while (is_name_char(*text))
        text++;
    return !*text;
}

const char *config_read_name(const struct field *f, const char *text, struct loader *l, void *ret)
{
    if (!all_name_chars(text) || text[0] == '-')
        return "is not a name; use letters, digits, - and _, beginning with a letter or digit";
    const char *why = check_length(f, text, l);
    return why ? why : keep(l, text, ret);
}

/* One line that YAML reads back as it stands (YAML 1.1 5.1, 5.4): an escape such as \u2028 can name what it cannot hold. The
 * parser has seen to it that this is UTF-8. */
static bool is_line(const char *text)
{
    for (const uint8_t *p = (const uint8_t *)text; *p; p++) {
        uint32_t c = *p;
        unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        if (more)
            c &= 0x3fu >> more;
        for (; more && p[1]; more--)
            c = c << 6 | (*++p & 0x3fu);
        if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe ||
            c == 0xffff)
            return false;
    }
    return true;
}

const char *config_read_text(const struct field *f, const char *text, struct loader *l, void *ret)
{
    if (!is_line(text))
        return "holds a control character; write one line of printable text";
    const char *why = check_length(f, text, l);
    return why ? why : keep(l, text, ret);
}

const char *config_read_device(const struct field *f, const char *text, struct loader *l, void *ret)
{
    /* The kernel's rule for names of devices, without its %d patterns. */
    for (const char *p = text; *p; p++)
        if (!is_name_char(*p) && *p != '.')
            return "is not a device name; use up to 15 letters, digits, -, _ and .";
    if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return "is not a device name; use up to 15 letters, digits, -, _ and .";
    const char *why = check_length(f, text, l);
    return why ? why : keep(l, text, ret);
}

/* RFC 1123 2.1 and 1035 2.3.4, with the underscore that names of services carry. */
static bool is_domain(const char *text)
{
    size_t label = 0, total = strlen(text);
    for (const char *p = text; *p; p++) {
        if (*p == '.') {
            if (label == 0 || p[-1] == '-')
                return false;
            label = 0;
        } else if (!is_name_char(*p) || (*p == '-' && label == 0) || ++label > 63) {
            return false;
        }
    }
    return label > 0 && text[total - 1] != '-' && total <= 253;
}

const char *config_read_domain(const struct field *f, const char *text, struct loader *l, void *ret)
{
    if (!is_domain(text))
        return "is not a domain name; write labels of letters, digits and - with dots between, none at the end";
    const char *why = check_length(f, text, l);
    return why ? why : keep(l, text, ret);
}

const char *config_read_identity(const struct field *f, const char *text, struct loader *l, void *ret)
{
    struct addr a;
    const char *at = strchr(text, '@');
    bool user = at && at != text && is_domain(at + 1);
    for (const char *p = text; user && p < at; p++)
        user = is_name_char(*p) || *p == '.' || *p == '+';
    if (!user && !is_domain(text) && addr_parse(text, &a) != RC_OK)
        return "is not an identity; write an address, a domain name or user@domain";
    const char *why = check_length(f, text, l);
    return why ? why : keep(l, text, ret);
}

const char *config_read_url(const struct field *f, const char *text, struct loader *l, void *ret)
{
    (void)f;
    const char *host = strncmp(text, "https://", 8) == 0 ? text + 8 : strncmp(text, "http://", 7) == 0 ? text + 7 : "";
    bool plain = true; /* RFC 3986 2: the rest must be written as %xx */
    for (const char *p = text; *p; p++)
        plain &= *p > 0x20 && *p < 0x7f && !strchr("\"'<>\\^`{|}", *p);
    if (!*host || !plain || strlen(text) > 255)
        return "is not a URL; write https://host:port";
    return keep(l, text, ret);
}

/* ---- addresses */

const char *config_read_addr(const struct field *f, const char *text, struct loader *l, void *ret)
{
    (void)f, (void)l;
    struct addr a;
    if (addr_parse(text, &a) != RC_OK)
        return "is not an address; write an IPv4 or IPv6 address without a length";
    *(struct addr *)ret = a;
    return NULL;
}

const char *config_read_interface(const struct field *f, const char *text, struct loader *l, void *ret)
{
    (void)f, (void)l;
    struct prefix p;
    if (!strchr(text, '/') || prefix_parse(text, &p) != RC_OK)
        return "is not an interface address; write our address and the length, such as 10.255.0.0/31";
    *(struct prefix *)ret = p;
    return NULL;
}

const char *config_read_network(const struct field *f, const char *text, struct loader *l, void *ret)
{
    (void)f;
    struct prefix p;
    char right[PREFIX_TEXT];
    if (!strchr(text, '/') || prefix_parse(text, &p) != RC_OK)
        return "is not a prefix; write an address and a length, such as 10.1.0.0/16";
    struct prefix network = prefix_network(p);
    if (!prefix_equal(&network, &p))
        return config_why(l, "has bits set behind its length; did you mean %s?", prefix_text(&network, right));
    *(struct prefix *)ret = p;
    return NULL;
}

const char *config_read_listen(const struct field *f, const char *text, struct loader *l, void *ret)
{
    (void)f, (void)l;
    static const char why[] = "is not an address and port; write 127.0.0.1:9587 or [::1]:9587";
    char host[ADDR_TEXT];
    const char *colon = strrchr(text, ':');
    bool bracket = text[0] == '[';
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (!colon || n < 3 || n >= sizeof host || (bracket && colon[-1] != ']'))
        return why;
    snprintf(host, sizeof host, "%.*s", (int)(bracket ? n - 2 : n), text + bracket);
    struct endpoint e = {0};
    uint64_t port;
    if (addr_parse(host, &e.addr) != RC_OK || bracket != (e.addr.family == 6) || !read_number(colon + 1, &port) ||
        port == 0 || port > 65535)
        return why;
    e.port = (uint16_t)port;
    *(struct endpoint *)ret = e;
    return NULL;
}

/* ---- printers: YAML */

void config_print_bool(const void *value, char *ret, size_t n)
{
    snprintf(ret, n, "%s", *(const bool *)value ? "true" : "false");
}

void config_print_uint(const void *value, char *ret, size_t n)
{
    snprintf(ret, n, "%" PRIu32, *(const uint32_t *)value);
}

void config_print_dscp(const void *value, char *ret, size_t n)
{
    if (*(const uint32_t *)value == DSCP_COPY)
        snprintf(ret, n, "copy");
    else
        config_print_uint(value, ret, n);
}

void config_print_duration(const void *value, char *ret, size_t n)
{
    uint64_t ms = *(const uint64_t *)value / NS_PER_MS;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (ms % units[i].ms == 0 && (ms || i == 3)) {
            snprintf(ret, n, "%" PRIu64 "%s", ms / units[i].ms, units[i].text);
            return;
        }
}

void config_print_time(const void *value, char *ret, size_t n)
{
    uint64_t t = *(const uint64_t *)value, days = t / 86400, s = t % 86400;
    unsigned year = 1970, month = 1;
    while (days >= days_of(year + 1, 1, 1))
        year++;
    while (month < 12 && days >= days_of(year, month + 1, 1))
        month++;
    snprintf(ret, n, "%04u-%02u-%02uT%02u:%02u:%02uZ", year, month, (unsigned)(days - days_of(year, month, 1)) + 1,
             (unsigned)(s / 3600), (unsigned)(s / 60 % 60), (unsigned)(s % 60));
}

void config_print_text(const void *value, char *ret, size_t n)
{
    const char *text = *(const char *const *)value;
    size_t at = 0;
    /* Always in double quotes: then no text is taken for something else. */
    at += (size_t)snprintf(ret, n, "\"");
    for (const char *p = text; *p && at + 4 < n; p++) {
        if (*p == '"' || *p == '\\')
            ret[at++] = '\\';
        ret[at++] = *p;
    }
    snprintf(ret + at, n - at, "\"");
}

void config_print_addr(const void *value, char *ret, size_t n)
{
    char text[ADDR_TEXT];
    snprintf(ret, n, "\"%s\"", addr_text(value, text));
}

void config_print_prefix(const void *value, char *ret, size_t n)
{
    char text[PREFIX_TEXT];
    snprintf(ret, n, "\"%s\"", prefix_text(value, text));
}

void config_print_listen(const void *value, char *ret, size_t n)
{
    char text[ENDPOINT_TEXT];
    snprintf(ret, n, "\"%s\"", endpoint_text(value, text));
}

void config_print_secret(const void *value, char *ret, size_t n)
{
    (void)value;
    snprintf(ret, n, "<redacted>");
}
