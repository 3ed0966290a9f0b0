/* Log sink with a token bucket per event name, and the token bucket itself. */
#include "adit/base.h"

void bucket_init(struct bucket *b, uint32_t rate, uint32_t burst, uint64_t now)
{
    *b = (struct bucket){.rate = rate, .burst = burst, .nano_tokens = burst * NS_PER_S, .at = now};
}

bool bucket_take(struct bucket *b, uint64_t now)
{
    uint64_t passed = now > b->at ? now - b->at : 0, full = b->burst * NS_PER_S;
    b->at = now;
    /* rate is per second: one ns brings `rate` nano-tokens; a long pause only fills the bucket, without overflow */
    if (b->rate && passed >= full / b->rate + 1)
        b->nano_tokens = full;
    else if ((b->nano_tokens += passed * b->rate) > full)
        b->nano_tokens = full;
    if (b->nano_tokens < NS_PER_S)
        return false;
    b->nano_tokens -= NS_PER_S;
    return true;
}

/* Event names are literals, but equal ones of two files need not share an address. */
static struct log_class *class_of(struct log *log, uint64_t now, const char *name)
{
    size_t i = 0;
    for (; i < LOG_CLASSES && log->classes[i].name; i++)
        if (log->classes[i].name == name || strcmp(log->classes[i].name, name) == 0)
            return &log->classes[i];
    if (i == LOG_CLASSES)
        return &log->classes[LOG_CLASSES - 1];
    log->classes[i].name = name;
    bucket_init(&log->classes[i].bucket, log->rate, log->burst, now);
    return &log->classes[i];
}

void log_event(struct log *log, uint64_t now, enum log_level level, const char *name, const struct log_field *fields,
               size_t n_fields)
{
    if (!log || !log->emit || level > log->level)
        return;
    struct log_event event = {.now = now, .level = level, .name = name, .fields = fields, .n_fields = n_fields};
    if (log->rate) {
        struct log_class *c = class_of(log, now, name);
        if (!bucket_take(&c->bucket, now)) {
            c->suppressed++;
            return;
        }
        event.suppressed = c->suppressed;
        c->suppressed = 0;
    }
    log->emit(log->ctx, &event);
}
