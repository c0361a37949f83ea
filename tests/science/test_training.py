"""The training loop, against hand-written steps; what it must learn, repeat and refuse."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from first_distill.errors import UserError
from first_distill.files import sha256_file
from first_distill.knowledge.extraction import extract
from first_distill.knowledge.store import KnowledgeStore
from first_distill.models.batching import collate, training_batches
from first_distill.models.determinism import seed_everything
from first_distill.models.encoding import NO_LABEL
from first_distill.models.inference import supervised_logits
from first_distill.training.knowledge_loss import KnowledgeLoss
from first_distill.training.loop import train
from first_distill.training.losses import CrossEntropy
from first_distill.training.settings import Settings
from tests import tiny_models as tiny

ENCODED = tiny.encode(tiny.choice_rows(5) + tiny.instruction_rows(4))
SETTINGS = Settings(epochs=1, batch_size=9, learning_rate=0.01, seed=3, warmup_ratio=0.0)


class MeanOfRows(CrossEntropy):
    """Cross-entropy, averaged as knowledge matching is."""

    def divisor(self, rows):
        return len(rows)


class Changed(CrossEntropy):
    """Cross-entropy whose targets give another loss of the logits."""

    def __init__(self, loss):
        self.loss = loss

    def targets(self, rows, device):
        return self


def trained(encoded=ENCODED, loss=None, **changes):
    model = tiny.random_llama(0)
    settings = dataclasses.replace(SETTINGS, **changes)
    return model, train(model, encoded, loss or CrossEntropy(), settings, tiny.EOS, "test")


def state(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def hand_loss(model, rows) -> tuple[torch.Tensor, int]:
    """Sum of next-token cross-entropies from single, unpadded rows, and their number."""
    total, count = torch.zeros(()), 0
    for row in rows:
        logits = model(torch.tensor([row.input_ids.tolist()])).logits[0]
        following = [*row.input_ids.tolist()[row.prompt_length :], int(row.labels[-1])]
        for position, label in enumerate(following, row.prompt_length - 1):
            if label != NO_LABEL:
                total = total - logits[position].log_softmax(-1)[label]
                count += 1
    return total, count


@pytest.mark.parametrize("loss", [CrossEntropy(), MeanOfRows()])
def test_one_step_is_a_hand_written_adamw_step(loss):
    """AdamW's first step by its formula: w - lr (wd w + g / (|g| + eps)), after clipping."""
    model = tiny.random_llama(0)
    total, count = hand_loss(model, ENCODED)
    by_hand = total / (len(ENCODED) if isinstance(loss, MeanOfRows) else count)
    by_hand.backward()
    norm = math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in model.parameters()))
    scale = min(1.0, 1.0 / (norm + 1e-6))
    assert scale < 1  # the clipping is at work
    after, curve = trained(loss=loss, weight_decay=0.1, adam_eps=1e-3)
    assert curve[0]["loss"] == pytest.approx(by_hand.item(), rel=1e-5)
    assert curve[0]["learning_rate"] == 0.01
    for old, new in zip(model.parameters(), after.parameters(), strict=True):
        gradient = old.grad * scale
        with torch.no_grad():
            expected = old - 0.01 * (0.1 * old + gradient / (gradient.abs() + 1e-3))
        torch.testing.assert_close(new.detach(), expected, atol=2e-5, rtol=0)


def test_later_steps_follow_both_moments():
    """Three steps on one batch, AdamW (0.9, 0.999) written out with its bias corrections."""
    model = tiny.random_llama(0)
    after, curve = trained(epochs=3, adam_eps=1e-3, batch_size=len(ENCODED))
    weights = list(model.parameters())
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    for step in (1, 2, 3):
        model.zero_grad()
        total, count = hand_loss(model, ENCODED)
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        rate = curve[step - 1]["learning_rate"]
        with torch.no_grad():
            for w, m, v in zip(weights, first, second, strict=True):
                m.mul_(0.9).add_(0.1 * w.grad)
                v.mul_(0.999).add_(0.001 * w.grad**2)
                corrected = (v / (1 - 0.999**step)).sqrt() + 1e-3
                w.sub_(rate * m / (1 - 0.9**step) / corrected)
    torch.testing.assert_close(state(after), state(model), atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", [CrossEntropy(), MeanOfRows()])
@pytest.mark.parametrize("micro", [1, 2, 4, 9, 20])
def test_micro_batches_add_up_to_the_whole_batch(loss, micro):
    """The divisor is that of the whole step, however the step is cut."""
    # A large epsilon makes AdamW's first step linear in the gradient.
    whole, curve = trained(loss=loss, adam_eps=1.0)
    cut, cut_curve = trained(loss=loss, adam_eps=1.0, micro_batch_size=micro)
    torch.testing.assert_close(state(cut), state(whole), atol=1e-6, rtol=0)
    assert cut_curve[0]["loss"] == pytest.approx(curve[0]["loss"], rel=1e-5)
    assert (state(whole) - state(tiny.random_llama(0))).abs().max() > 1e-4


def test_gradient_checkpointing_changes_no_weight():
    plain, _ = trained()
    saved, _ = trained(gradient_checkpointing=True)
    torch.testing.assert_close(state(saved), state(plain), atol=1e-6, rtol=0)


def test_schedule_is_linear_warm_up_then_cosine():
    _, curve = trained(epochs=5, batch_size=2, warmup_ratio=0.2)
    steps, warm = 25, 5  # ceil(9 / 2) * 5 and a fifth of it
    assert [point["step"] for point in curve] == list(range(1, steps + 1))
    for point in curve:
        t = point["step"] - 1
        share = t / warm if t < warm else (1 + math.cos(math.pi * (t - warm) / (steps - warm))) / 2
        assert point["learning_rate"] == pytest.approx(0.01 * share, abs=1e-12)


def test_number_of_steps_and_points_of_the_curve():
    assert [p["step"] for p in trained(epochs=1.5, batch_size=2)[1]] == list(range(1, 9))
    curve = trained(ENCODED[:1], epochs=101)[1]
    assert [p["step"] for p in curve] == list(range(1, 102, 2))


def test_steps_follow_the_shuffled_order():
    """Losses of two steps by hand: the second uses the second batch of the epoch."""
    lengths = np.asarray([len(row.input_ids) for row in ENCODED])
    batches = training_batches(lengths, 5, SETTINGS.seed, 0, SETTINGS.length_pool)
    _, curve = trained(batch_size=5, learning_rate=1e-9)
    for rows, point in zip(batches, curve, strict=True):
        total, count = hand_loss(tiny.random_llama(0), [ENCODED[i] for i in rows])
        assert point["loss"] == pytest.approx(float(total.detach()) / count, rel=1e-4)


def test_training_lowers_the_loss_on_labels():
    curve = trained(epochs=20, batch_size=9)[1]
    assert curve[-1]["loss"] < 0.7 * curve[0]["loss"]


def distill(model, **changes):
    """Train on a teacher's knowledge; the mean Eq. 5 before and after."""
    encoded = tiny.encode(tiny.choice_rows(6))
    arrays = extract(tiny.random_llama(7), encoded, 5, tiny.EOS, 1000)
    store = KnowledgeStore(arrays, {})
    loss = KnowledgeLoss(store, 5, "prob_softmax", {"c": 0.3})
    batch = collate(encoded, np.arange(len(encoded)), tiny.EOS)
    targets = loss.targets(encoded, "cpu")

    def divergence() -> float:
        """Forward KL of the targets, by hand."""
        with torch.no_grad():
            log_p = supervised_logits(model, batch).log_softmax(-1)
        own, q = log_p.gather(1, targets.ids), targets.q
        return float((q * (q.log() - own)).sum(1).mean())

    before = divergence()
    settings = dataclasses.replace(SETTINGS, epochs=15, batch_size=6, **changes)
    train(model, encoded, loss, settings, tiny.EOS, "test")
    return before, divergence()


def test_matching_lowers_the_divergence_to_its_targets():
    """A loss of the wrong sign would raise it."""
    before, after = distill(tiny.random_llama(0))
    assert before > 1 and after < before / 2


def test_single_answer_token_receives_gradient():
    """A mask off by one would lose the only signal of a one-letter answer."""
    row = dataclasses.replace(tiny.encode(tiny.yes_no_rows(1), append_eos=False)[0])
    assert row.labels.tolist()[1:] == [NO_LABEL] and len(row.labels) == 2
    model = tiny.random_llama(0)
    batch = collate([row], np.asarray([0]), tiny.EOS)
    CrossEntropy().targets([row], "cpu").loss(supervised_logits(model, batch)).sum().backward()
    # d CE / d hidden state of the answer position reaches the head's row of the answer: p - 1.
    plain = tiny.full_logits(tiny.random_llama(0), row)[row.prompt_length - 1]
    gold = int(row.labels[0])
    hidden = model.model(torch.tensor([row.input_ids.tolist()])).last_hidden_state
    expected = (plain.softmax(-1)[gold].float() - 1) * hidden[0, row.prompt_length - 1]
    torch.testing.assert_close(
        model.lm_head.weight.grad[gold], expected.detach(), atol=1e-4, rtol=1e-3
    )
    assert expected.abs().max() > 1e-2


def test_cross_entropy_is_zero_without_label():
    row = tiny.encode(tiny.choice_rows(1), append_eos=False)[0]
    logits = torch.randn(3, 263, generator=torch.Generator().manual_seed(0))
    found = CrossEntropy().targets([row], "cpu").loss(logits)
    labels = torch.from_numpy(row.labels[:2]).long()
    assert found[2] == 0
    torch.testing.assert_close(found[:2], F.cross_entropy(logits[:2], labels, reduction="none"))


def run_hash(folder, seed: int) -> str:
    from first_distill.models.checkpoints import save_checkpoint

    seed_everything(seed)
    model, _ = trained(epochs=2, batch_size=2, seed=seed)
    save_checkpoint(model, folder, tiny.tokenizer_folder(), {"kind": "test"})
    return sha256_file(folder / "model.safetensors")


def test_same_seed_gives_the_same_file_and_another_seed_another(tmp_path):
    first = run_hash(tmp_path / "a", 1)
    torch.rand(7)  # whatever ran before in this process must not matter
    np.random.seed(5)
    assert run_hash(tmp_path / "b", 1) == first
    assert run_hash(tmp_path / "c", 2) != first


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_not_finite_stops_with_step_and_rows(value):
    calls = []

    def broken(logits):
        calls.append(1)
        return logits.sum(-1) * (value if len(calls) == 2 else 1e-3)

    with pytest.raises(UserError, match=r"step 2: rows train/0000\d\d") as caught:
        trained(loss=Changed(broken), batch_size=5)
    assert "no checkpoint" in str(caught.value) and "\n" not in str(caught.value)


def test_gradient_that_is_not_finite_stops():
    """In the last step it would leave a finite loss and ruined weights."""

    def root(logits):  # finite at 0, its derivative is not
        return (logits - logits.detach()).abs().sum(-1).clamp(min=0).sqrt()

    with pytest.raises(UserError, match="gradient is nan at step 1"):
        trained(loss=Changed(root))


def test_command_line_with_ruined_base_writes_no_checkpoint(tmp_path):
    from first_distill.models.checkpoints import save_checkpoint
    from scripts import student

    model = copy.deepcopy(tiny.random_llama(0))
    with torch.no_grad():
        model.lm_head.weight[5, 0] = math.nan
    save_checkpoint(model, tmp_path / "base", tiny.tokenizer_folder(), {"kind": "test"})
    table = tiny.write_table(tmp_path / "t.parquet", tiny.choice_rows(4))
    words = f"--model {tmp_path}/base --train {table} --validation {table} --method finetune"
    words += f" --objective hard_labels --output-dir {tmp_path}/out --block-length 400 --epochs 1"
    with pytest.raises(UserError, match="loss is nan at step 1"):
        student.main([*words.split(), *"--batch-size 4 --learning-rate 0.1 --seed 1".split()])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name, value",
    [
        ("epochs", 0),
        ("epochs", math.nan),
        ("learning_rate", 0),
        ("adam_eps", 0),
        ("warmup_ratio", -0.1),
        ("warmup_ratio", 1.01),
        ("weight_decay", -1),
        ("max_grad_norm", 0),
    ],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(UserError, match=name):
        dataclasses.replace(SETTINGS, **{name: value})


def test_hard_labels_use_the_mean_over_labelled_positions():
    encoded = tiny.encode(tiny.choice_rows(3) + tiny.instruction_rows(3), append_eos=False)
    total, count = hand_loss(tiny.random_llama(0), encoded)
    assert count == sum(len(row.labels) - 1 for row in encoded)
    _, curve = trained(encoded, learning_rate=1e-9)
    assert curve[0]["loss"] == pytest.approx(float(total.detach()) / count, rel=1e-5)
