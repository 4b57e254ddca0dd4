import pytest
import torch

from bn_tutorial.data.sequences import read_rows


@pytest.fixture
def images():
    return torch.rand(3, 28, 28, generator=torch.Generator().manual_seed(0))


def test_as_many_frames_as_rows_are_the_rows(images):
    frames, mask = read_rows(images, torch.full((3,), 28))
    torch.testing.assert_close(frames, images.transpose(1, 2))
    assert mask.all()


def test_first_and_last_frame_are_the_first_and_last_row(images):
    lengths = torch.tensor([7, 28, 56])
    frames, _ = read_rows(images, lengths)
    torch.testing.assert_close(frames[:, :, 0], images[:, 0])
    last = frames[torch.arange(3), :, lengths - 1]
    torch.testing.assert_close(last, images[:, -1])


def test_a_frame_between_two_rows_is_a_mixture_of_them():
    image = torch.tensor([[[0.0, 1.0], [1.0, 5.0]]])
    frames, _ = read_rows(image, torch.tensor([5]))
    assert frames[0].tolist() == [[0, 0.25, 0.5, 0.75, 1], [1, 2, 3, 4, 5]]


def test_padding_is_zero_and_masked_and_depends_on_the_longest(images):
    frames, mask = read_rows(images + 1, torch.tensor([7, 20, 10]))
    assert frames.shape == (3, 28, 20)
    assert mask.sum(dim=1).tolist() == [7, 20, 10]
    assert mask[0, :7].all()  # the frames come first
    assert not frames.transpose(1, 2)[~mask].any()
    assert (frames.transpose(1, 2)[mask] >= 1).all()


def test_an_image_is_read_alike_in_every_batch(images):
    together, _ = read_rows(images, torch.tensor([7, 20, 10]))
    alone, _ = read_rows(images[:1], torch.tensor([7]))
    assert torch.equal(together[:1, :, :7], alone)


def test_what_cannot_be_read_is_refused(images):
    with pytest.raises(ValueError, match="a length is 1"):
        read_rows(images, torch.tensor([7, 1, 7]))
    with pytest.raises(ValueError, match=r"lengths \(2,\)"):
        read_rows(images, torch.tensor([7, 7]))
    with pytest.raises(ValueError, match=r"expected \(N, height, width\)"):
        read_rows(images.flatten(1), torch.tensor([7, 7, 7]))
