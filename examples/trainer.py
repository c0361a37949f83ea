"""Eq. 4 and 5 in a `transformers.Trainer`; needs `pip install ".[trainer]"`."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, set_seed

from first_distill import matching_loss

set_seed(0)
size = {"num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 40, "hidden_size": 32}
teacher, student = (LlamaForCausalLM(LlamaConfig(**size, intermediate_size=64)) for _ in range(2))
teacher.lm_head.weight.data *= 40  # a sure teacher
tokens = torch.randint(0, 40, (64, 8))
log_probs, ids = teacher(tokens).logits.detach().log_softmax(-1).topk(5)  # once, offline
rows = [{"input_ids": t, "ids": i, "log_probs": p} for t, i, p in zip(tokens, ids, log_probs)]


class Distiller(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        known = [inputs.pop(name).flatten(0, 1) for name in ("ids", "log_probs")]
        output = model(**inputs)
        loss = matching_loss(output.logits.flatten(0, 1), *known, "prob_softmax", c=0.3).mean()
        return (loss, output) if return_outputs else loss


settings = {"remove_unused_columns": False, "report_to": "none", "save_strategy": "no"}
settings |= {"num_train_epochs": 40, "learning_rate": 0.01, "logging_steps": 1}
trainer = Distiller(student, TrainingArguments(**settings, disable_tqdm=True), train_dataset=rows)
trainer.train()
first, *_, last, _ = trainer.state.log_history  # of the steps; the last one sums up
print("loss:", first["loss"], "at first,", last["loss"], "at last")
