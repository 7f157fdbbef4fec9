# SPDX-License-Identifier: BSD-3-Clause
"""Sessions of onnxruntime for exported policies, checked against the contract. Needs only numpy and onnxruntime."""

from __future__ import annotations

from pathlib import Path

from trudi_rsl.deploy.contract import Contract, ContractError
from trudi_rsl.errors import one_line
from trudi_rsl.plain_values import IMAGE_TYPES, is_count

try:
    import onnxruntime
except ImportError as error:
    raise ImportError(f"Running a policy needs onnxruntime ({error}). Run: pip install onnxruntime") from error


ONNX_TYPES = {name: f"tensor({name})" for name in IMAGE_TYPES} | {"float32": "tensor(float)"}
"""Names of NumPy's types of images to those of onnxruntime."""


def open_session(file: str | Path, num_threads: int = 1) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on the CPU; several threads slow down networks of a policy's size."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns about every half-precision layer that a CPU computes in float32
    options.intra_op_num_threads = options.inter_op_num_threads = num_threads
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def check_shapes(session: onnxruntime.InferenceSession, contract: Contract) -> int:
    """Check the file's inputs and outputs against its contract, and return the number of actions."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    names = [[node.name for node in nodes] for nodes in (inputs, outputs)]
    known = [*(["obs"] if contract.num_obs or not contract.images else []), *(image.name for image in contract.images)]
    kept = [] if contract.memory is None else list(contract.memory.names)
    known += [f"{name}_in" for name in kept]
    returned = ["actions", *(f"{name}_out" for name in kept)]
    if names != [known, returned] and (kept or names != [[*known, "latent"], returned]):
        raise ContractError(f"The file maps {names[0]} to {names[1]} instead of {known} to {returned}.")
    for node in (*inputs[len(known) - len(kept) : len(known)], *outputs[1:]):
        if contract.memory is not None and node.shape != list(contract.memory.shape):
            raise ContractError(f"The file's state {node.name!r} has shape {one_line(node.shape)}.")
    obs_shape, action_shape = inputs[0].shape, outputs[0].shape
    if obs_shape[:1] != [1]:
        rows = one_line(obs_shape[0]) if obs_shape else "no"
        raise ContractError(f"The file takes {rows} observations per call, a robot has one. Export batch 1.")
    for node, image in zip(inputs[len(known) - len(kept) - len(contract.images) :], contract.images, strict=False):
        if node.shape != [1, *image.shape] or node.type != ONNX_TYPES[image.dtype.name]:
            raise ContractError(f"The file takes {node.type} {one_line(node.shape)} as the image {image.name!r}.")
    if names[0][0] == "obs" and obs_shape != [1, contract.num_obs]:
        raise ContractError(
            f"The file's metadata describes {contract.num_obs} observations, its input has shape {one_line(obs_shape)}."
        )
    num_actions: int = [0, *action_shape][-1]
    if not is_count(num_actions) or action_shape != [1, num_actions]:
        raise ContractError(f"The file returns actions of shape {one_line(action_shape)} instead of [1, A].")
    if names[0][-1] == "latent" and inputs[-1].shape != action_shape:
        raise ContractError(f"The file takes a latent of shape {one_line(inputs[-1].shape)} for {num_actions} actions.")
    images = {image.name for image in contract.images}
    for node in (*(node for node in inputs if node.name not in images), *outputs):
        if node.type != "tensor(float)":
            raise ContractError(f"The file's {node.name} are {one_line(node.type)}, not float32.")
    if contract.actions and (n := sum(len(action.joint_names) for action in contract.actions)) != num_actions:
        raise ContractError(f"The file returns {num_actions} actions, its metadata describes {n}.")
    for name in ("action_low", "action_high", "obs_mean", "obs_std"):
        values, size = getattr(contract, name), num_actions if name.startswith("action") else contract.num_obs
        if values is not None and values.shape != (size,):
            raise ContractError(f"The file's metadata has {name} of shape {values.shape} instead of ({size},).")
    return num_actions
