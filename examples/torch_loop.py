"""Eq. 4 and 5 in a plain PyTorch loop: a student learns a teacher's re-calibrated top five."""

import torch

from first_distill import expected_calibration_error, matching_loss, search_temperature

torch.manual_seed(0)
context = torch.arange(400)
scores = 2 * torch.randn(400, 50)  # next tokens are drawn from softmax(scores)
gold = torch.multinomial(scores.softmax(-1), 5, replacement=True)
teacher = scores * 3  # knows which tokens are likely, but is too sure

# Once, offline: the teacher's top five, and c, which makes the target's top one calibrated.
log_probs, ids = teacher.log_softmax(-1).topk(5)
correct = (ids[:, :1] == gold).flatten().numpy()
c = search_temperature(log_probs.exp().repeat_interleave(5, 0).numpy(), correct).best["c"]

student = torch.nn.Embedding(400, 50)  # any module whose logits are (N, V)
optimizer = torch.optim.Adam(student.parameters(), lr=0.1)
for _ in range(300):
    loss = matching_loss(student(context), ids, log_probs, "prob_softmax", c=c)
    optimizer.zero_grad()
    loss.mean().backward()
    optimizer.step()

print(f"c {c:.2f}  loss {loss.mean():.5f}")
for name, logits in {"teacher": teacher, "student": student(context).detach()}.items():
    confidence = logits.softmax(-1).amax(-1).repeat_interleave(5)
    print(f"{name} ECE {100 * expected_calibration_error(confidence, correct):.1f} %")
