"""What `homeguard init` says, in Korean and English."""

from __future__ import annotations

from homeguard.config import Language

WORDS: dict[Language, dict[str, str]] = {
    "ko": {
        "welcome": "질문 몇 가지로 {file} 파일을 만듭니다. Enter는 [괄호] 안의 값이고, "
        "Ctrl-C를 누르면 아무것도 쓰지 않고 끝납니다.",
        "replace": "{file} 파일이 이미 있습니다. 바꿀까요? ({file}.old 로 남겨 둡니다)",
        "name": "집 이름 (문자에 나옵니다. 예: 할머니 댁)",
        "address": "주소 (구급차가 찾아올 수 있게)",
        "spoken": "집에서 쓰는 말 (ko 한국어, en 영어, auto 둘 다)",
        "rooms": "듣는 방, 쉼표로 구분",
        "rooms_default": "거실",
        "microphones": "이 컴퓨터의 마이크:",
        "microphone": "{room}의 마이크 (번호, 이름, 또는 rtsp:// 카메라 주소)",
        "no_microphone": "마이크를 찾지 못했습니다: {why}\n나중에 꽂아도 됩니다.",
        "choose": "1에서 {count} 사이의 번호, 이름, 또는 rtsp:// 주소를 적으세요",
        "taken": "그 마이크는 이미 다른 방이 씁니다",
        "talk": "평소 목소리로 말해 보세요",
        "heard": "잘 들립니다: 조용할 때 {quiet:.0f} dB, 목소리 {loud:.0f} dB.",
        "faint": "목소리가 방 소리보다 {rise:.0f} dB밖에 크지 않습니다. "
        "말씀하셨다면 마이크를 가까이 두거나 음량을 올리세요.",
        "silent": "아무 소리도 들어오지 않습니다: 음소거이거나 다른 마이크입니다.",
        "clipped": "소리가 찢어집니다: 마이크 음량을 낮추세요.",
        "keep": "이 마이크를 쓸까요?",
        "contact": "{number}번째 보호자 이름 (없으면 Enter)",
        "phone": "{name}의 전화번호 (예: 010-1234-5678)",
        "phone_wrong": "국가 번호와 함께 +821012345678 처럼, 또는 010-1234-5678 처럼 적으세요",
        "contact_language": "{name}에게 보낼 말 (ko, en)",
        "sms": "문자를 보낼 Twilio 계정 SID (AC…, 아직 없으면 Enter)",
        "sender": "보내는 번호 (+…) 또는 메시지 서비스 (MG…)",
        "broker": "MQTT 브로커 (주소, mqtts://사용자@주소, 없으면 none)",
        "write": "이대로 쓸까요?",
        "wrote": "{file} 파일을 썼습니다.",
        "next": "다음에 할 일:",
        "secret_mqtt": "브로커 비밀번호: 환경 변수 HOMEGUARD_MQTT_PASSWORD, 또는 서비스라면 "
        "/etc/credstore/homeguard_mqtt_password (root만 읽게)",
        "secret_sms": "Twilio 토큰: 환경 변수 HOMEGUARD_TWILIO_AUTH_TOKEN, 또는 서비스라면 "
        "/etc/credstore/homeguard_twilio_auth_token (root만 읽게)",
        "doctor": "homeguard doctor       모든 것이 실제로 되는지 봅니다",
        "test": "homeguard test-alert   모두에게 시험 알림을 보냅니다",
        "run": "homeguard run          듣기 시작합니다 (서비스: systemctl restart homeguard)",
    },
    "en": {
        "welcome": "A few questions make {file}. Enter takes what stands in [brackets]; "
        "Ctrl-C ends at any time and nothing is written.",
        "replace": "{file} is there already. Replace it? (it is kept as {file}.old)",
        "name": "What people call this home (stands in messages, such as Grandma's)",
        "address": "Its address, as an ambulance needs it",
        "spoken": "What is spoken in the home (ko, en, or auto for both)",
        "rooms": "Rooms to listen to, with commas between",
        "rooms_default": "living room",
        "microphones": "Microphones of this machine:",
        "microphone": "Microphone of {room} (number, name, or a camera's rtsp:// address)",
        "no_microphone": "no microphone was found: {why}\nYou can plug one in later.",
        "choose": "write a number from 1 to {count}, a name, or an rtsp:// address",
        "taken": "another room has that microphone",
        "talk": "Say something in your ordinary voice",
        "heard": "It hears you: {quiet:.0f} dB when quiet, {loud:.0f} dB when loud.",
        "faint": "Your voice was only {rise:.0f} dB above the room. If you spoke, move the "
        "microphone closer or turn it up.",
        "silent": "Nothing comes in: it is muted, or not the one that is meant.",
        "clipped": "The sound is distorted: turn the microphone down.",
        "keep": "Take this microphone?",
        "contact": "Name of caregiver {number} (Enter: no more)",
        "phone": "{name}'s telephone, such as +821012345678",
        "phone_wrong": "write it with + and country code, such as +821012345678",
        "contact_language": "Language of {name}'s messages (ko, en)",
        "sms": "SID of the Twilio account that sends text messages (AC..., Enter: later)",
        "sender": "The number it sends from (+...), or a messaging service (MG...)",
        "broker": "MQTT broker (HOST, mqtts://USER@HOST, or none)",
        "write": "Write it so?",
        "wrote": "{file} is written.",
        "next": "What comes next:",
        "secret_mqtt": "the broker's password: in the environment, HOMEGUARD_MQTT_PASSWORD; for "
        "the service /etc/credstore/homeguard_mqtt_password (for root alone)",
        "secret_sms": "the Twilio token: in the environment, HOMEGUARD_TWILIO_AUTH_TOKEN; for "
        "the service /etc/credstore/homeguard_twilio_auth_token (for root alone)",
        "doctor": "homeguard doctor       tries everything for real",
        "test": "homeguard test-alert   sends everybody a test",
        "run": "homeguard run          listens (as a service: systemctl restart homeguard)",
    },
}
