from peitho.api.page import images
from peitho.api.page.images import AllImages


def test_how_full_the_volume_is_can_be_read_out() -> None:
    """
    And why it cannot be told, where that is so.
    """
    room = images.room(AllImages(used_bytes=1024, total_bytes=4096)).source

    assert 'value="25"' in room
    assert "3.0 KiB are free of 4.0 KiB" in room
    assert "no &lt;disk&gt;" in images.room(AllImages(cause="no <disk>")).source
    assert "Images cannot be read" == images.summary(AllImages(cause="no disk"))
