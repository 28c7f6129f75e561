"""What the hub is compared with: each in the virtual environment of ``bench/requirements.lock``, in a process of its own.

They import ``hub.models``, which is pydantic alone, so that they validate what the hub validates; nothing else of ours.
"""
