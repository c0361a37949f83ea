"""Stage artifacts: tables, figures and claims."""


def artifacts(scale):
    return expand("results/{scale}/temperature/{family}/{corpus}/selected.json", scale=scale, family=SCALES[scale]["families"], corpus=SCALES[scale]["corpora"])
